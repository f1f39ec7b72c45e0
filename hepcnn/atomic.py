"""Outputs that appear under their final name only when they are whole."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from hepcnn.errors import HepcnnError


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file or a folder beside its final place and rename it when the block ends without an error.

    Parameters
    ----------
    path
        The final name. Its folder is made if needed. What stood there before is replaced, and stays if the block fails.

    Yields
    ------
    Path
        The temporary name to write to, in the same folder (so that the rename is one step) and with the same suffix.

    Raises
    ------
    HepcnnError
        When the folder cannot be made or written to.
    """
    final = Path(path)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HepcnnError(f"{final.parent}: cannot make this folder for the output: {error.strerror}") from error
    partial = final.with_name(f".{final.stem}.{uuid.uuid4().hex[:8]}.partial{final.suffix}")
    try:
        yield partial
        _replace(partial, final)
    except BaseException:
        _remove(partial)
        raise


def _replace(partial: Path, final: Path) -> None:
    if not partial.exists():
        raise HepcnnError(f"{final}: nothing was written for it")
    if final.is_dir() and not final.is_symlink():
        old = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.old")
        final.rename(old)
        partial.rename(final)
        shutil.rmtree(old)
    else:
        partial.replace(final)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
