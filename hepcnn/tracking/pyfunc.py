"""How MLflow loads a registered bundle: it imports this module and calls `_load_pyfunc`. Nothing is unpickled."""

from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import InputError, require
from hepcnn.tagger import Tagger


class TaggerModel:
    """A bundle that takes jets as rows of a table and gives a table of scores."""

    def __init__(self, tagger: Tagger) -> None:
        self.tagger = tagger

    def predict(self, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002 - MLflow gives both
        """Score jets.

        Parameters
        ----------
        model_input
            A table with a row for each jet, or its columns by name; in each cell the list of its constituents' ``pt``,
            ``eta``, ``phi`` … in GeV and radians.
        params
            Not used.

        Returns
        -------
        DataFrame
            A column of probabilities for each class, as `hepcnn.Tagger` gives them, and ``energy`` and ``energy_err``
            in GeV of a tagger with that task; no row for no jet.

        Raises
        ------
        InputError
            When a cell is no list of numbers, or a jet's lists have different lengths; the message names row and
            column. Also what `hepcnn.Tagger` raises.
        """
        pd: Any = require("pandas", extra="workflow")
        table = model_input if isinstance(model_input, pd.DataFrame) else pd.DataFrame(dict(model_input))
        cells = {str(name): [_read_cell(name, row, cell) for row, cell in enumerate(table[name])] for name in table}
        lengths = {name: [len(cell) for cell in column] for name, column in cells.items()}
        _check_lengths(lengths)
        columns = {
            name: ak.unflatten(np.concatenate([*column, np.empty(0)]), np.asarray(lengths[name], np.int64))
            for name, column in cells.items()
        }
        found = self.tagger.predict(ak.zip(columns))
        scores = pd.DataFrame(found.pop("score"), columns=list(self.tagger.class_names), index=table.index)
        for name, values in found.items():
            scores[name] = values
        return scores


def _read_cell(name: str, row: int, cell: Any) -> NDArray[np.float64]:
    try:
        values = np.asarray(cell, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(())
    if values.ndim != 1:
        raise InputError(f"row {row}: '{name}' is {str(cell)[:60]!r}: expected the list of a jet's constituents")
    return values


def _check_lengths(lengths: Mapping[str, Sequence[int]]) -> None:
    if not lengths:
        raise InputError("this table has no column: expected 'pt', 'eta', 'phi' and what else the bundle needs")
    (first, expected), *others = lengths.items()
    for name, found in others:
        for row, (one, other) in enumerate(zip(expected, found, strict=True)):
            if one != other:
                raise InputError(f"row {row}: {one} constituents have '{first}', but {other} have '{name}'")


def _load_pyfunc(path: str) -> TaggerModel:
    return TaggerModel(Tagger.load(path))
