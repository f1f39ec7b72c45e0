"""Files as tables of columns, whatever their format."""

import contextlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import awkward as ak

from hepcnn.errors import InputError
from hepcnn.io.hdf5 import Hdf5File, open_hdf5
from hepcnn.io.heads import HDF5_MAGIC, NPZ_MAGIC, ROOT_MAGIC, read_head
from hepcnn.io.npz import open_npz
from hepcnn.io.root import open_root


class Table(Protocol):
    """Entries with named columns; ``columns`` gives each one's type by its name."""

    path: str
    name: str
    n_entries: int

    @property
    def columns(self) -> Mapping[str, str]:
        """The type of each column by its name."""

    def check(self, names: Sequence[Any]) -> None:
        """Raise ``SchemaError`` for a column that is not there, naming the nearest."""

    def borders(self, names: Sequence[Any]) -> list[int]:
        """Entries at which it is best to stop reading these columns, the first and the last among them."""

    def read(self, names: Sequence[Any], start: int, stop: int) -> dict[Any, ak.Array]:
        """Some columns of the entries ``start`` to ``stop``, the latter excluded."""


class Tables(Protocol):
    """An open file."""

    path: str

    def names(self) -> list[str]:
        """The names of the tables."""

    def table(self, name: str) -> Table:
        """One table; raises ``SchemaError`` where there is none of this name."""


def format_of(path: str | os.PathLike[str]) -> str:
    """``ROOT``, ``HDF5`` or ``npz``, told by the file's first bytes.

    Raises
    ------
    InputError
        When the file cannot be opened, is empty, a Git LFS pointer, or something else.
    """
    head = read_head(path, expected="a ROOT, HDF5 or npz file")
    for name, magic in (("ROOT", ROOT_MAGIC), ("HDF5", HDF5_MAGIC), ("npz", NPZ_MAGIC)):
        if head.startswith(magic):
            return name
    raise InputError(f"{path}: neither a ROOT, an HDF5 nor an npz file (it starts with {head[:8]!r})")


@contextlib.contextmanager
def open_tables(path: str | os.PathLike[str]) -> Iterator[Tables]:
    """Open a file of any known format for reading.

    Raises
    ------
    InputError
        When it is missing, damaged, or of no known format.
    """
    match format_of(path):
        case "ROOT":
            with open_root(path) as root:
                yield root
        case "HDF5":
            with open_hdf5(path) as file:
                yield Hdf5File(str(path), file)
        case _:
            with open_npz(path) as archive:
                yield archive


def count_numbers(described: str) -> int:
    """Numbers an entry of a column described like ``float32[28, 28]``."""
    return math.prod(_shape(described))


def image_shape(described: str, *, where: str) -> tuple[int, ...]:
    """The shape of the images in a column described like ``float32[28, 28, 1]``, axes of length 1 left out.

    Raises
    ------
    InputError
        When they have fewer than two axes, or more than three.
    """
    shape = tuple(size for size in _shape(described) if size != 1)
    if not 2 <= len(shape) <= 3:
        raise InputError(f"{where}: expected images (N, H, W) or (N, depth, H, W), entries are {described}")
    return shape


def _shape(described: str) -> list[int]:
    match = re.fullmatch(r"[^\[]*\[([\d, ]+)\]", described)
    return [int(size) for size in match[1].split(",")] if match else []
