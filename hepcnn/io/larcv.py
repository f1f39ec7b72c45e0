"""Sparse images of liquid-argon detectors, as larcv3 writes them to HDF5: lists of voxels with their values.

A producer's group holds three tables. ``extents`` says which rows of ``voxel_extents`` are those of an event, one for
each of its images (planes of wires, or one volume); ``voxel_extents`` says which rows of ``voxels`` are those of an
image; ``voxels`` are pairs of a flat number, in C order over the image, and a value. ``image_meta`` has the shapes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import InputError, SchemaError, did_you_mean

TABLES = ("sparse2d", "sparse3d")
"""Kinds of images; a file has a table of each that it holds."""
ENTRY_COLUMNS = {"image": "int64", "projection": "int64", "run": "int64", "subrun": "int64", "event": "int64"}
FIELDS = {"id": "uint64[var]", "value": "float32[var]"}


def list_larcv_tables(file: Any) -> list[str]:
    """The kinds of images that an open HDF5 file holds; none for files of other kinds."""
    groups = file.get("Data", {})
    return [name for name in TABLES if any(_producer_of(group, name) for group in groups)]


def _producer_of(group: str, kind: str) -> str:
    start, end = f"{kind}_", "_group"
    return group[len(start) : -len(end)] if group.startswith(start) and group.endswith(end) else ""


class LarcvTable:
    """Images of one kind, an image an entry, in the order of events.

    ``columns`` are ``<producer>.id`` and ``<producer>.value``, lists of flat numbers and of values, for every producer;
    ``image`` counts the images, ``projection`` says which of its event's it is, ``run``, ``subrun`` and ``event`` which
    event.
    """

    def __init__(self, path: str, name: str, file: Any) -> None:
        self.path, self.name, self._file = path, name, file
        groups = {_producer_of(group, name): f"Data/{group}" for group in file["Data"]}
        self._groups = {producer: group for producer, group in groups.items() if producer}
        self.columns: Mapping[str, str] = {
            **ENTRY_COLUMNS,
            **{f"{producer}.{field}": of for producer in self._groups for field, of in FIELDS.items()},
        }
        self._extents = {producer: self._read_extents(group) for producer, group in self._groups.items()}
        self.n_entries = min(len(extents) for extents in self._extents.values())

    def _read_extents(self, group: str) -> NDArray[Any]:
        """Where the voxels of each image begin, how many there are, and which of its event's images it is."""
        return np.asarray(self._file[f"{group}/voxel_extents"][:])

    def shape(self, column: Any) -> tuple[int, ...]:
        """Voxels along each axis of the images of a column.

        Raises
        ------
        InputError
            When images differ in size.
        """
        producer = str(column).rpartition(".")[0]
        self.check([column])
        sizes = np.unique(self._file[f"{self._groups[producer]}/image_meta"]["number_of_voxels"], axis=0)
        if len(sizes) != 1:
            told = " and ".join(str(size.tolist()) for size in sizes) or "none"
            raise InputError(f"{self.path}: images of '{producer}' need one size, they have {told}")
        return tuple(int(size) for size in sizes[0])

    def check(self, names: Sequence[Any]) -> None:
        """Raise ``SchemaError`` for a column that is not there, naming the nearest."""
        for name in names:
            if name not in self.columns:
                hint = did_you_mean(str(name), self.columns)
                raise SchemaError(f"{self.path}: table '{self.name}' has no column '{name}'{hint}")

    def borders(self, names: Sequence[Any]) -> list[int]:
        """Every entry may be read alone.

        Raises
        ------
        InputError
            When producers hold different numbers of images.
        """
        self.check(names)
        wanted = {producer: len(self._extents[producer]) for producer in self._producers(names)}
        if len(set(wanted.values())) > 1:
            told = ", ".join(f"'{producer}' {count}" for producer, count in wanted.items())
            raise InputError(f"{self.path}: producers hold different numbers of images: {told}")
        return list(range(next(iter(wanted.values()), self.n_entries) + 1))

    def read(self, names: Sequence[Any], start: int, stop: int) -> dict[Any, ak.Array]:
        """Some columns of the images ``start`` to ``stop``, the latter excluded; ``InputError`` where damaged."""
        self.check(names)
        voxels = {producer: self._read_voxels(producer, start, stop) for producer in self._producers(names)}
        found = {}
        for name in names:
            producer, _, field = str(name).rpartition(".")
            found[name] = voxels[producer][field] if producer else ak.from_numpy(self._of_entries(name, start, stop))
        return found

    def _producers(self, names: Sequence[Any]) -> list[str]:
        return list(dict.fromkeys(str(name).rpartition(".")[0] for name in names if "." in str(name)))

    def _read_voxels(self, producer: str, start: int, stop: int) -> ak.Array:
        extents = self._extents[producer][start:stop]
        first, count = extents["first"].astype(np.int64), extents["N"].astype(np.int64)
        dataset = self._file[f"{self._groups[producer]}/voxels"]
        last = first + count
        if len(first) and not (np.array_equal(first[1:], last[:-1]) and last[-1] <= len(dataset)):
            raise InputError(
                f"{self.path}: images {start} to {stop} of '{producer}': their voxels do not follow each other, or are "
                f"beyond the {len(dataset)} of the file"
            )
        try:
            rows = dataset[first[0] : last[-1]] if len(first) else dataset[:0]
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{self.path}: cannot read '{dataset.name}', damaged or cut short: {error}") from error
        fields = {name: np.ascontiguousarray(rows[name]) for name in FIELDS}
        return ak.unflatten(ak.zip(fields), count)

    def _of_entries(self, name: str, start: int, stop: int) -> NDArray[np.int64]:
        extents = next(iter(self._extents.values()))[start:stop]
        if name == "image":
            return np.arange(start, stop, dtype=np.int64)
        if name == "projection":
            return extents["ID"].astype(np.int64)
        per_event = self._file[f"{next(iter(self._groups.values()))}/extents"]["N"].astype(np.int64)
        event = np.repeat(np.arange(len(per_event)), per_event)[start:stop]
        return np.asarray(self._file["Events/event_id"][name], dtype=np.int64)[event]
