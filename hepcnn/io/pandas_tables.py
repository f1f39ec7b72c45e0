"""Where pandas keeps the columns of a table in an HDF5 file, read without pandas and without running its pickles."""

import pickletools
from collections.abc import Iterator
from typing import Any

import h5py

from hepcnn.io.places import NumberBlock, Place

WHOLE_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1")


def is_pandas(item: Any) -> bool:
    """Whether this is the group of a pandas table."""
    return isinstance(item, h5py.Group) and "pandas_type" in item.attrs


def find_pandas_columns(group: Any) -> dict[str, Place]:
    """The columns of a pandas table by name; a block of numbers holds many of them.

    Notes
    -----
    ``format="table"`` is a compound dataset, the names pickled in its attributes; ``format="fixed"`` a dataset of names
    and one of values for each block. What pandas pickles into the file, texts mostly, is listed but holds no numbers.
    """
    return dict(_columns_of_table(group["table"]) if "table" in group else _columns_of_blocks(group))


def _columns_of_table(table: Any) -> Iterator[tuple[str, Place]]:
    for field in table.dtype.names:
        names = unpickle_names(table.attrs.get(f"{field}_kind"))
        shape = table.dtype[field].shape
        if len(shape) == 1 and len(names) == shape[0]:
            block = NumberBlock(table, field)
            yield from ((name, Place(block, number)) for number, name in enumerate(names))
        else:
            yield names[0] if len(names) == 1 else field, Place(NumberBlock(table, field))


def _columns_of_blocks(group: Any) -> Iterator[tuple[str, Place]]:
    for number in range(int(group.attrs.get("nblocks", 0))):
        block = NumberBlock(group[f"block{number}_values"])
        for place, name in enumerate(group[f"block{number}_items"][:]):
            yield _text(name), Place(block, place if block.shape else None)


def unpickle_names(pickled: Any) -> list[str]:
    """The texts (and whole numbers) in a pickled list, without running the pickle, which could do anything."""
    if pickled is None:
        return []
    raw = pickled if isinstance(pickled, bytes) else str(pickled).encode("latin-1")
    names = []
    try:
        for opcode, argument, _ in pickletools.genops(raw):
            if "UNICODE" in opcode.name or "STRING" in opcode.name or opcode.name in WHOLE_NUMBERS:
                names.append(_text(argument))
    except ValueError:
        return []
    return names


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
