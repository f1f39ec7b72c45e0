"""Outputs that appear under their final name only when they are whole."""

import contextlib
import errno
import glob
import os
import re
import shutil
import signal
import threading
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

from hepcnn.errors import HepcnnError


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGUSR1 wait until the block ends.

    For short calls into a C library that calls Python back, where an exception would be lost: HDF5 would take a write
    for done that Ctrl-C had cut off. Only the main thread hears signals; elsewhere nothing needs to be held.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[tuple[int, FrameType | None]] = []
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    for kind in before:
        signal.signal(kind, lambda number, frame: heard.append((number, frame)))
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, signal.SIG_DFL if handler is None else handler)
    for number, frame in heard:
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        else:
            signal.raise_signal(number)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file beside its final place and rename it when the block ends without an error.

    Parameters
    ----------
    path
        The final name. Its folder is made if needed. A file that stood there before is replaced, and stays if the block
        fails.

    Yields
    ------
    Path
        The temporary name to write to, in the same folder (so that the rename is one step) and with the same suffix.

    Raises
    ------
    HepcnnError
        When the name is that of a folder, the folder cannot be made, or the block wrote nothing.
    """
    final = _prepare(path)
    if final.is_dir():
        raise HepcnnError(f"{final}: this is a folder: name a file in it")
    with _partial(final) as partial:
        yield partial
        partial.replace(final)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str], *, marker: str) -> Iterator[Path]:
    """Fill a folder beside its final place and rename it when the block ends without an error.

    Parameters
    ----------
    path
        The final name.
    marker
        A file that every such folder holds. A folder that stood there is replaced only if it holds one too, or is
        empty: anything else is the user's.

    Yields
    ------
    Path
        The temporary folder, empty.

    Raises
    ------
    HepcnnError
        When something else has this name, or the folder cannot be made.
    """
    final = _prepare(path)
    refuse_foreign_folder(final, marker=marker)
    with _partial(final) as partial:
        partial.mkdir()
        yield partial
        if final.exists():
            old = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.old")
            final.rename(old)
            partial.rename(final)
            shutil.rmtree(old)
        else:
            partial.rename(final)


def refuse_foreign_folder(path: str | os.PathLike[str], *, marker: str) -> None:
    """Raise ``HepcnnError`` when a folder to be written holds something, but not what every such folder holds."""
    final = Path(path)
    ours = final.is_dir() and ((final / marker).exists() or not any(final.iterdir()))
    if final.exists() and not ours:
        raise HepcnnError(f"{final}: this exists and holds no {marker}: it is not replaced; name another folder")


def open_parts(root: Path, current: Path, *, marker: str, about: str, outputs: Iterable[Path]) -> None:
    """Make the folder of the finished parts of an output, which a later call goes on from.

    Parameters
    ----------
    root
        The folder beside the output.
    current
        The folder in it for the parts of these settings; those of others are removed, and what a killed process left
        half-done in it.
    marker, about
        The file that says that such a folder may be cleared, and its content.
    outputs
        What the parts are for; what an earlier call left of them half-written is removed too.

    Raises
    ------
    HepcnnError
        When something else has the folder's name, or it cannot be made.
    """
    refuse_foreign_folder(root, marker=marker)
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / marker).write_text(about)
        for path in root.iterdir():
            if path.is_dir() and path != current:
                shutil.rmtree(path, ignore_errors=True)
        current.mkdir(exist_ok=True)
        for path in current.glob(".*"):
            path.unlink()
        for path in outputs:
            remove_leftovers(path)
    except OSError as error:
        raise HepcnnError(f"{root}: cannot keep finished parts there: {error.strerror}") from error


def refuse_overwriting(output: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Raise ``HepcnnError`` when an output is one of the files that are read for it."""
    for path in inputs:
        if Path(output).resolve() == Path(path).resolve():
            raise HepcnnError(f"{output}: this is the input; name another file for the output")


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove what writing a file left behind where the process was killed; nobody may be writing it now."""
    final = Path(path)
    for leftover in final.parent.glob(f".{glob.escape(final.stem)}.{'[0-9a-f]' * 8}.partial{final.suffix}"):
        _remove(leftover)


def _prepare(path: str | os.PathLike[str]) -> Path:
    final = Path(path)
    if not final.name:
        raise HepcnnError(f"'{path}': this names a folder that is in use; name a file or another folder")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HepcnnError(f"{final.parent}: cannot make this folder for the output: {error.strerror}") from error
    return final


@contextlib.contextmanager
def _partial(final: Path) -> Iterator[Path]:
    partial = final.with_name(f".{final.stem}.{uuid.uuid4().hex[:8]}.partial{final.suffix}")
    try:
        yield partial
    except FileNotFoundError as error:
        if error.filename == str(partial):
            raise HepcnnError(f"{final}: nothing was written for it") from error
        raise
    except OSError as error:
        if (reason := _name_full_disk(error)) is not None:
            raise HepcnnError(f"{final}: cannot write this file: {reason}; nothing is left of it") from error
        raise
    finally:
        _remove(partial)


def _name_full_disk(error: OSError) -> str | None:
    """Why nothing more can be written, if that is what an error is about; numpy tells of it in the text alone."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return os.strerror(error.errno)
    return os.strerror(errno.ENOSPC) if re.fullmatch(r"\d+ requested and \d+ written", str(error)) else None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
