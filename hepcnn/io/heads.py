"""The first bytes of a file, its size and its hash, on disk or remote: what it is, or why it cannot be read."""

import hashlib
import importlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hepcnn.errors import InputError, MissingExtraError

ROOT_MAGIC = b"root"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
NPZ_MAGIC = b"PK\x03\x04"
LFS_MAGIC = b"version https://git-lfs"


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether this is an address (``root://``, ``https://``, ``s3://``, …), not a path."""
    return "://" in os.fspath(path)


@contextmanager
def open_bytes(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a file of any kind for reading bytes, through fsspec where it is remote.

    Raises
    ------
    InputError
        When it cannot be opened.
    MissingExtraError
        When the protocol needs a package that is not there.
    """
    with ExitStack() as stack:
        if is_remote(path):
            yield stack.enter_context(_open_remote(os.fspath(path)))
            return
        try:
            file = stack.enter_context(Path(path).open("rb"))
        except OSError as error:
            raise InputError(f"{path}: cannot open this file: {error.strerror}") from error
        yield file


def _open_remote(path: str) -> Any:
    try:
        return importlib.import_module("fsspec").open(path, "rb").open()
    except (ImportError, ValueError) as error:
        protocol = path.partition("://")[0]
        raise MissingExtraError(f"{path}: reading {protocol}:// needs the extra 'remote': {error}") from error
    except Exception as error:  # every protocol has its own errors
        raise InputError(f"{path}: cannot open this address: {type(error).__name__}: {error}") from error


def size_of(path: str | os.PathLike[str]) -> int:
    """Bytes in a file; raises as `open_bytes`."""
    if not is_remote(path):
        try:
            return Path(path).stat().st_size
        except OSError as error:
            raise InputError(f"{path}: cannot open this file: {error.strerror}") from error
    with open_bytes(path) as file:
        return int(file.seek(0, os.SEEK_END))


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal; a remote file is read through for it."""
    with open_bytes(path) as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 22):
            digest.update(block)
        return digest.hexdigest()


def read_head(path: str | os.PathLike[str], *, expected: str) -> bytes:
    """Read the first 64 bytes.

    Parameters
    ----------
    path
        The file.
    expected
        What it should be, for the message.

    Raises
    ------
    InputError
        When the file cannot be opened, is empty, or is a Git LFS pointer.
    """
    with open_bytes(path) as file:
        try:
            head = bytes(file.read(64))
        except Exception as error:  # a folder, or a server that stops answering
            raise InputError(f"{path}: cannot read this file: {error}") from error
    if not head:
        raise InputError(f"{path}: this file is empty (0 bytes); expected {expected}")
    if head.startswith(LFS_MAGIC):
        raise InputError(
            f"{path}: this is a Git LFS pointer, a text that stands for the data, not the data: run 'git lfs pull'"
        )
    return head
