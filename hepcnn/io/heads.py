"""The first bytes of a file: what it is, or why it cannot be read."""

import os
from pathlib import Path

from hepcnn.errors import InputError

ROOT_MAGIC = b"root"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
LFS_MAGIC = b"version https://git-lfs"


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
    try:
        with Path(path).open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise InputError(f"{path}: cannot open this file: {error.strerror}") from error
    if not head:
        raise InputError(f"{path}: this file is empty (0 bytes); expected {expected}")
    if head.startswith(LFS_MAGIC):
        raise InputError(
            f"{path}: this is a Git LFS pointer, a text that stands for the data, not the data: run 'git lfs pull'"
        )
    return head
