"""The files of a study: whether each can be opened, and is what its name says."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hepcnn.doctor.finding import Finding
from hepcnn.errors import HepcnnError
from hepcnn.io.heads import HDF5_MAGIC, ROOT_MAGIC, is_remote, read_head

MAGIC = {".root": ROOT_MAGIC, ".h5": HDF5_MAGIC, ".hdf5": HDF5_MAGIC}
SHOWN, N_THREADS, MOST_REMOTE = 3, 8, 20


def examine_data(files: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Look at the first bytes of all files on disk, and of some that are remote.

    Parameters
    ----------
    files
        By the name of the sample. Samples without files are generated.
    """
    for name, named in files.items():
        if not named:
            continue
        remote = [path for path in named if is_remote(path)]
        looked_at = [path for path in named if not is_remote(path)] + remote[:MOST_REMOTE]
        with ThreadPoolExecutor(N_THREADS) as pool:
            problems = [problem for problem in pool.map(_find_problem, looked_at) if problem]
        what = f"sample '{name}'"
        if problems:
            more = f" (and {len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
            detail = f"{len(problems)} of {len(named)} files cannot be read: {'; '.join(problems[:SHOWN])}{more}"
            yield Finding(what, False, detail, mend="mend samples.<name>.files, or the files")
        else:
            size = sum(Path(path).stat().st_size for path in named if not is_remote(path))
            told = f"{size / 1e9:.2f} GB" if size else "remote"
            unseen = f", {len(remote) - MOST_REMOTE} of them not looked at" if len(remote) > MOST_REMOTE else ""
            yield Finding(what, True, f"{len(named)} file{'s' if len(named) != 1 else ''}, {told}{unseen}")


def _find_problem(path: str) -> str:
    try:
        head = read_head(path, expected="detector data")
    except HepcnnError as error:
        return str(error)
    magic = MAGIC.get(os.path.splitext(path)[1].lower())  # noqa: PTH122
    if magic is not None and not head.startswith(magic):
        return f"{path}: not what its name says, it begins with {head[:8]!r}"
    return ""
