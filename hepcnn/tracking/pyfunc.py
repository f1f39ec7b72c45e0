"""How MLflow loads a registered bundle: it imports this module and calls `_load_pyfunc`. Nothing is unpickled."""

from typing import Any

import awkward as ak

from hepcnn.errors import require
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
            A table with a row for each jet; in each cell the list of its constituents' ``pt``, ``eta``, ``phi`` … in
            GeV and radians.
        params
            Not used.

        Returns
        -------
        DataFrame
            A column of probabilities for each class, as `hepcnn.Tagger` gives them.
        """
        pd: Any = require("pandas", extra="workflow")
        columns = {name: ak.Array([list(cell) for cell in model_input[name]]) for name in model_input.columns}
        scores = self.tagger(ak.zip(columns))
        return pd.DataFrame(scores, columns=list(self.tagger.class_names), index=model_input.index)


def _load_pyfunc(path: str) -> TaggerModel:
    return TaggerModel(Tagger.load(path))
