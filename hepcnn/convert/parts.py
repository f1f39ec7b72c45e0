"""Finished ranges of files, kept on disk until the images are whole, so that an interrupted conversion goes on."""

import concurrent.futures
import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn import paths
from hepcnn.atomic import atomic_path, open_parts
from hepcnn.constituents import offsets_of
from hepcnn.convert.cutflow import Cutflow

PART_VERSION = 2
"""Raise it whenever the same range with the same settings gives other numbers or another layout."""
MARKER, END = "hepcnn-parts.json", b"end\n"


@dataclass(frozen=True)
class Part:
    """The images of a block of entries, before they are joined to others.

    ``indptr`` (N+1,), ``index`` (nnz,), ``value`` (nnz, C) as in ``images.h5``; ``jets``, ``features`` and ``truth``
    are its columns (N,) by name; ``card`` columns (N,) of which the data card tells: ``n_constituents``, ``n_outside``
    of them beyond the grid, ``pt_all`` and ``pt_inside`` (GeV, scalar sums of the constituents, all and inside the
    grid). ``unclaimed`` counts jets by a label that no class claims, ``n_nan`` those with NaN or infinite values.
    """

    indptr: NDArray[np.int64]
    index: NDArray[np.integer[Any]]
    value: NDArray[np.float32]
    jets: Mapping[str, NDArray[Any]]
    features: Mapping[str, NDArray[np.float32]]
    truth: Mapping[str, NDArray[np.float32]]
    card: Mapping[str, NDArray[Any]]
    cutflow: Cutflow
    unclaimed: Mapping[int, int]
    n_nan: int

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def select(self, jets: NDArray[np.bool_]) -> "Part":
        """Only the jets of a mask (N,); the counts stay."""
        counts = np.diff(self.indptr)
        pixels = np.repeat(jets, counts)
        return replace(
            self,
            indptr=offsets_of(counts[jets]),
            index=self.index[pixels],
            value=self.value[pixels],
            jets={name: column[jets] for name, column in self.jets.items()},
            features={name: column[jets] for name, column in self.features.items()},
            truth={name: column[jets] for name, column in self.truth.items()},
            card={name: column[jets] for name, column in self.card.items()},
        )


class PartStore:
    """The folder ``<images>.parts/`` beside an images file, with a file for each range that is finished.

    Parameters
    ----------
    output
        The images file.
    settings_key
        Digest of all settings that the content of parts depends on. Parts of other settings are dropped.
    """

    def __init__(self, output: Path, settings_key: str) -> None:
        self._output, self._root = output, paths.parts(output)
        self._folder = self._root / settings_key[:16]
        self._fresh: dict[str, list[Part]] = {}
        self._writer = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="hepcnn-parts")
        self._written: concurrent.futures.Future[None] | None = None

    def open(self) -> None:
        """Make the folder; drop the parts of other settings and what a killed process left half-done.

        Raises
        ------
        HepcnnError
            When something else has this name, or the folder cannot be made.
        """
        about = json.dumps({"format": "hepcnn-parts", "version": PART_VERSION})
        outputs = [self._output, paths.data_card(self._output)]
        open_parts(self._root, self._folder, marker=MARKER, about=about, outputs=outputs)

    def path(self, key: str) -> Path:
        """File of a part."""
        return self._folder / f"{key[:32]}.part"

    def write(self, key: str, parts: list[Part]) -> None:
        """Write parts made in this process, beside what it does next; they are also at hand for the next `read`.

        Raises
        ------
        HepcnnError
            When these, or those before, cannot be written.
        """
        self.wait()
        self._written = self._writer.submit(write_parts, self.path(key), parts)
        self._fresh[key] = [*parts]  # the reader takes them away one by one

    def wait(self) -> None:
        """Wait until all is written."""
        if self._written is not None:
            self._written.result()
            self._written = None

    def read(self, key: str) -> list[Part] | None:
        """Finished parts; None if they are not there or damaged, in which case their file is removed."""
        if key in self._fresh:
            return self._fresh.pop(key)
        try:
            return read_parts(self.path(key))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError):
            self.path(key).unlink(missing_ok=True)
            return None

    def close(self) -> None:
        """Finish what is being written, and leave no folder where no part was finished."""
        self._writer.shutdown()
        with contextlib.suppress(OSError):  # not empty
            self._folder.rmdir()
            (self._root / MARKER).unlink()
            self._root.rmdir()

    def remove(self) -> None:
        """Remove all parts."""
        self._writer.shutdown()
        shutil.rmtree(self._root, ignore_errors=True)


def write_parts(path: str | os.PathLike[str], parts: Sequence[Part]) -> None:
    """Write the parts of a range; the file appears under its name when it is whole.

    Each part is a line of JSON, then its arrays one after the other as ``.npy``, neither compressed nor summed: they
    are read once and removed.
    """
    with atomic_path(path) as partial, partial.open("wb") as file:
        for part in parts:
            arrays: dict[str, Any] = {"indptr": part.indptr, "index": part.index, "value": part.value}
            for group in ("jets", "features", "truth", "card"):
                arrays |= {f"{group}/{name}": column for name, column in getattr(part, group).items()}
            about = {"cutflow": part.cutflow.to_json(), "unclaimed": list(part.unclaimed.items()), "n_nan": part.n_nan}
            file.write(json.dumps(about | {"arrays": list(arrays)}).encode() + b"\n")
            for array in arrays.values():
                np.save(file, array, allow_pickle=False)
        file.write(END)


def read_parts(path: str | os.PathLike[str]) -> list[Part]:
    """Read what `write_parts` wrote; raises ``ValueError``, ``KeyError`` or ``EOFError`` for a damaged file."""
    parts = []
    with Path(path).open("rb") as file:
        while (line := file.readline()) != END:
            about = json.loads(line)
            columns = {name: np.load(file, allow_pickle=False) for name in about["arrays"]}
            parts.append(
                Part(
                    indptr=columns["indptr"],
                    index=columns["index"],
                    value=columns["value"],
                    jets=_pick(columns, "jets/"),
                    features=_pick(columns, "features/"),
                    truth=_pick(columns, "truth/"),
                    card=_pick(columns, "card/"),
                    cutflow=Cutflow.from_json(about["cutflow"]),
                    unclaimed=dict(about["unclaimed"]),
                    n_nan=about["n_nan"],
                )
            )
    return parts


def _pick(columns: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): column for name, column in columns.items() if name.startswith(prefix)}
