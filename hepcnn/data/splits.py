"""Which jets train, validate and test: by the hash of the event, so that no event is on both sides, or by file."""

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import ConfigError, EmptySampleError, did_you_mean

SPLITS = ("train", "val", "test")
_GOLDEN = 0x9E3779B97F4A7C15


def make_splits(
    event_id: NDArray[np.uint64], fractions: Mapping[str, float], *, seed: int = 0
) -> dict[str, NDArray[np.int64]]:
    """Assign jets to splits.

    Parameters
    ----------
    event_id
        Spread 64-bit numbers, equal for the jets of an event, (N,).
    fractions
        Fraction of the events for ``train``, ``val`` and ``test``, adding up to 1.
    seed
        Another seed gives another assignment.

    Returns
    -------
    dict
        For each split the numbers of its jets, rising. A jet's split depends on its event alone: more files move none.
        The sizes are those of a random draw.
    """
    offset = np.uint64((seed * _GOLDEN) % 2**64)
    position = ((event_id + offset) >> np.uint64(11)).astype(np.float64) / 2**53
    edges = np.cumsum([fractions[name] for name in SPLITS])[:-1]
    part = np.searchsorted(edges, position, side="right")
    return {name: np.flatnonzero(part == number) for number, name in enumerate(SPLITS)}


def split_by_file(
    source_file: NDArray[np.integer[Any]], paths: Sequence[str], patterns: Mapping[str, Sequence[str]]
) -> dict[str, NDArray[np.int64]]:
    """Assign jets to splits by the files that they come from.

    Parameters
    ----------
    source_file
        Number of each jet's file, (N,).
    paths
        Of the files; a file may be among them more than once.
    patterns
        For each split names, paths or patterns (``*``, ``?``) of its files.

    Returns
    -------
    dict
        For each split the numbers of its jets, rising.

    Raises
    ------
    ConfigError
        When a file belongs to no split or to several, or a pattern fits no file.
    """
    found = [[split for split in SPLITS if any(_fits(path, p) for p in patterns[split])] for path in paths]
    for path, splits in zip(paths, found, strict=True):
        if len(splits) != 1:
            told = f"to {' and to '.join(splits)}" if splits else "to no split"
            raise ConfigError(f"split.by_file: {path} belongs {told}, expected just one of {', '.join(SPLITS)}")
    for split in SPLITS:
        for pattern in patterns[split]:
            if not any(_fits(path, pattern) for path in paths):
                names = [PurePath(path).name for path in paths]
                raise ConfigError(f"split.by_file.{split}: no file is '{pattern}'{did_you_mean(pattern, names)}")
    part = np.array([SPLITS.index(splits[0]) for splits in found], dtype=np.int64)[source_file]
    return {name: np.flatnonzero(part == number) for number, name in enumerate(SPLITS)}


def _fits(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(PurePath(path).name, pattern)


def limit_splits(
    splits: Mapping[str, NDArray[np.int64]],
    label: NDArray[np.integer[Any]],
    event_id: NDArray[np.uint64],
    *,
    max_jets: int,
) -> dict[str, NDArray[np.int64]]:
    """Keep at most ``max_jets`` jets of each class in each split: those whose events' hashes are smallest.

    Parameters
    ----------
    splits
        As `make_splits` gives them.
    label, event_id
        Of all jets, (N,).
    max_jets
        At least 1.
    """
    limited = {}
    for name, jets in splits.items():
        kept = []
        for number in np.unique(label[jets]):
            mine = jets[label[jets] == number]
            kept.append(mine[np.argsort(event_id[mine], kind="stable")[:max_jets]])
        limited[name] = np.sort(np.concatenate(kept)) if kept else jets
    return limited


def require_every_class(
    splits: Mapping[str, NDArray[np.int64]], label: NDArray[np.integer[Any]], class_names: tuple[str, ...]
) -> None:
    """Check that each split holds jets of each class.

    Raises
    ------
    EmptySampleError
        Naming the split, the class and the number of jets there are of it in all.
    """
    for split, jets in splits.items():
        for number, name in enumerate(class_names):
            if not np.any(label[jets] == number):
                raise EmptySampleError(
                    f"split '{split}' holds no jet of class '{name}' (there are {np.sum(label == number)} of it in all "
                    f"splits): more jets, or a larger fraction for this split, are needed"
                )
