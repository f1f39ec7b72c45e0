"""Finished chunks, kept on disk until the sample is whole, so that an interrupted generation goes on where it was."""

import contextlib
import hashlib
import importlib.metadata
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from hepcnn.atomic import atomic_path
from hepcnn.generate.card import DetectorCard
from hepcnn.generate.chunk import ChunkResult
from hepcnn.generate.settings import JetSettings

LAYOUT_VERSION = 1
"""Raise it whenever the same settings and seed give other jets or other columns."""
LIBRARIES = ("awkward", "fastjet", "numpy", "pythia8mc")


def sample_key(process: str, settings: JetSettings, card: DetectorCard, seed: int) -> str:
    """Digest of everything that decides the content of a chunk; not the number of jets asked for."""
    content = {
        "layout": LAYOUT_VERSION,
        "process": process,
        "seed": seed,
        "settings": settings.model_dump(mode="json"),
        "card": card.model_dump(mode="json"),
        "versions": library_versions(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def library_versions() -> dict[str, str]:
    """Versions of the libraries on which the content of a sample depends."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


Result = TypeVar("Result")


class PartStore(Generic[Result]):
    """The folder ``.<name>.parts/<key>/`` beside an output file.

    Parameters
    ----------
    output
        The file that the parts are for.
    key
        Digest of all that decides the content, such as `sample_key`. Parts of other keys are of no use to this call.
    read
        Reads one part.
    """

    def __init__(self, output: Path, key: str, read: Callable[[Path], Result]) -> None:
        self._read = read
        self._root = output.parent / f".{output.name}.parts"
        self._folder = self._root / key

    def open(self) -> None:
        """Make the folder; drop the parts of other keys and what writing left half-done."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._root.iterdir():
            if path != self._folder:
                shutil.rmtree(path, ignore_errors=True)
        for path in self._folder.glob(".*"):
            path.unlink()

    def path(self, chunk: int) -> Path:
        """File of a chunk."""
        return self._folder / f"chunk-{chunk:06d}.npz"

    def list_chunks(self) -> list[int]:
        """Numbers of the chunks that are there, rising."""
        return sorted(int(path.stem.removeprefix("chunk-")) for path in self._folder.glob("chunk-*.npz"))

    def read(self, chunk: int) -> Result | None:
        """A finished chunk; None if it is not there or cannot be read, in which case its file is removed."""
        try:
            return self._read(self.path(chunk))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            self.path(chunk).unlink(missing_ok=True)
            return None

    def remove_if_empty(self) -> None:
        """Remove the folders if no part was finished."""
        with contextlib.suppress(OSError):  # not empty
            self._folder.rmdir()
            self._root.rmdir()

    def remove(self) -> None:
        """Remove all parts."""
        shutil.rmtree(self._root, ignore_errors=True)


def write_part(path: Path, result: ChunkResult) -> None:
    """Write a chunk; it appears under its name when it is whole."""
    about = {
        "cutflow": result.cutflow,
        "cross_section_pb": result.cross_section_pb,
        "cross_section_err_pb": result.cross_section_err_pb,
    }
    arrays = {f"jets/{name}": column for name, column in result.jets.items()}
    arrays |= {f"parts/{name}": column for name, column in result.parts.items()}
    with atomic_path(path) as partial:
        np.savez(partial, counts=result.counts, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]


def read_part(path: Path) -> ChunkResult:
    """Read what `write_part` wrote."""
    with np.load(path, allow_pickle=False) as file:
        columns = {name: file[name] for name in file.files}
    about = json.loads(str(columns.pop("about")))
    counts = columns.pop("counts")
    return ChunkResult(
        jets={name.removeprefix("jets/"): c for name, c in columns.items() if name.startswith("jets/")},
        parts={name.removeprefix("parts/"): c for name, c in columns.items() if name.startswith("parts/")},
        counts=counts,
        cutflow=about["cutflow"],
        cross_section_pb=about["cross_section_pb"],
        cross_section_err_pb=about["cross_section_err_pb"],
    )
