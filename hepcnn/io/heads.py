"""The first bytes of a file, its size and its hash, on disk or remote: what it is, or why it cannot be read."""

import hashlib
import importlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hepcnn.errors import InputError, MissingExtraError

ROOT_MAGIC = b"root"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
NPZ_MAGIC = b"PK\x03\x04"
LFS_MAGIC = b"version https://git-lfs"
XROOTD = ("root", "xroot")
XROOTD_PATIENCE = {"XRD_CONNECTIONWINDOW": "15", "XRD_CONNECTIONRETRY": "2"}
"""Seconds and tries for a server that does not answer, unless the environment says otherwise: XRootD takes minutes."""
OF_EXTRA = ("http", "https", "s3", "s3a", *XROOTD)
"""Protocols of the extra 'remote'; fsspec knows more of them, by packages of their own."""
KNOWN = "https://, s3:// and root:// with the extra 'remote', and what fsspec has packages for"


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
    protocol = path.partition("://")[0]
    if protocol in XROOTD:
        for name, value in XROOTD_PATIENCE.items():
            os.environ.setdefault(name, value)
    try:
        fsspec = importlib.import_module("fsspec")
        return _RemoteFile(path, fsspec.open(path, "rb").open())
    except ImportError as error:
        raise _lacks_extra(path, error) from error
    except Exception as error:  # every protocol has its own errors
        if "rotocol not known" in str(error):
            if protocol in OF_EXTRA:
                raise _lacks_extra(path, error) from error
            raise InputError(f"{path}: nothing is known of {protocol}://; addresses are {KNOWN}") from error
        raise InputError(f"{path}: cannot open this address: {_said(error)}") from error


def _lacks_extra(path: str, error: BaseException) -> MissingExtraError:
    protocol = path.partition("://")[0]
    if protocol not in OF_EXTRA:
        return MissingExtraError(f"{path}: reading {protocol}:// needs a package that is not installed: {error}")
    return MissingExtraError(
        f"{path}: reading {protocol}:// needs an extra that is not installed: pip install 'hepcnn[remote]' ({error})"
    )


def _said(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    if error.__cause__ is not None:
        text += f" ({_said(error.__cause__)})"
    return text + ("; for a public bucket set FSSPEC_S3_ANON=true" if "NoCredentials" in text else "")


class _RemoteFile(io.RawIOBase):
    """A remote file whose every failure is an ``OSError`` that names the address; ``failure`` is the last one."""

    def __init__(self, address: str, file: Any) -> None:
        self._address, self._file = address, file
        self.failure: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._tell_failure(self._file.seek, offset, whence))

    def readinto(self, buffer: Any) -> int:
        found = self._tell_failure(self._file.read, len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _tell_failure(self, work: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return work(*arguments)
        except Exception as error:  # every protocol has its own errors
            self.failure = OSError(f"cannot read {self._address}: {_said(error)}")
            raise self.failure from error


@contextmanager
def _told(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # a folder, or a server that stops answering
        raise InputError(f"{path}: cannot read this file: {error}") from error


def size_of(path: str | os.PathLike[str]) -> int:
    """Bytes in a file; raises as `open_bytes`."""
    if not is_remote(path):
        try:
            return Path(path).stat().st_size
        except OSError as error:
            raise InputError(f"{path}: cannot open this file: {error.strerror}") from error
    with open_bytes(path) as file, _told(path):
        return int(file.seek(0, os.SEEK_END))


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal; a remote file is read through for it."""
    with open_bytes(path) as file, _told(path):
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
    with open_bytes(path) as file, _told(path):
        head = bytes(file.read(64))
        if is_remote(path):
            # A server that gives no ranges of files would let formats that jump about look damaged.
            file.seek(-1 if head else 0, os.SEEK_END)
            file.read(1)
    if not head:
        raise InputError(f"{path}: this file is empty (0 bytes); expected {expected}")
    if head.startswith(LFS_MAGIC):
        raise InputError(
            f"{path}: this is a Git LFS pointer, a text that stands for the data, not the data: run 'git lfs pull'"
        )
    return head
