"""What a schema may call a label: a number that the file holds for each jet, from which classes are made."""

from typing import Annotated, Any

import pydantic

from hepcnn.config import StrictModel
from hepcnn.io.rules import Column, NamedColumns, OptionalColumn


class ColumnLabel(StrictModel):
    """The label is a column of whole numbers, one a jet or one an event; ``names`` gives some values a name.

    A matrix, a column for each class, stands for the place of the one in each row; -1 where there is none.
    """

    column: Column
    names: dict[int, str] = {}


class OneHotLabel(StrictModel):
    """The label is the name of the one column that is set; its value is the column's place in this list.

    -1 where none is set, or more than one.
    """

    one_hot: NamedColumns


class MatchLabel(StrictModel):
    """The label is the kind of generated particle near the jet's axis.

    ``ids`` are |PDG ids| by priority: the first of which a particle lies within ``radius`` of the axis (by default the
    jets' radius) is the value; 0 where none does. With ``status`` only particles of that generator status count.
    """

    pdg_id: Column
    eta: OptionalColumn = None
    phi: OptionalColumn = None
    px: OptionalColumn = None
    py: OptionalColumn = None
    pz: OptionalColumn = None
    status: OptionalColumn = None
    status_values: frozenset[int] = frozenset()
    ids: tuple[int, ...]
    radius: float | None = pydantic.Field(default=None, gt=0)
    names: dict[int, str] = {}

    @pydantic.model_validator(mode="after")
    def _has_direction(self) -> "MatchLabel":
        if all((self.eta, self.phi)) == all((self.px, self.py, self.pz)):
            raise ValueError("name either eta and phi, or px, py and pz, of the generated particles")
        return self


def _kind(value: Any) -> str:
    keys = set(value) if isinstance(value, dict) else set(getattr(type(value), "model_fields", ()))
    return "one_hot" if "one_hot" in keys else "match" if "pdg_id" in keys else "column"


LabelSource = Annotated[
    Annotated[ColumnLabel, pydantic.Tag("column")]
    | Annotated[OneHotLabel, pydantic.Tag("one_hot")]
    | Annotated[MatchLabel, pydantic.Tag("match")],
    pydantic.Discriminator(_kind),
]


def names_of(label: ColumnLabel | OneHotLabel | MatchLabel) -> dict[int, str]:
    """The names that some of a label's values have."""
    if isinstance(label, OneHotLabel):
        return dict(enumerate(label.one_hot))
    return label.names
