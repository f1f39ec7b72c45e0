"""Which columns of another program's file hold scores, labels, weights and jet quantities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hepcnn.errors import InputError


@dataclass(frozen=True)
class ScoreColumns:
    """Which columns of a file hold what.

    Attributes
    ----------
    score
        By class name, in the order of the labels' numbers: probabilities of K classes. A single one is the score of the
        class numbered 1 against the class 0, called ``background``: a probability, or, where values lie outside [0, 1],
        a logit.
    label
        Column of the class: its number, or its name.
    weight
        Column of the weight; ones by default.
    jets
        By name in ``Scores.jets`` the columns of jet quantities, such as ``pt`` (GeV), ``eta``, ``mass``, ``process``.
    values
        By class the values of the label that mean it, such as ``{"b": (5,), "background": (0, 4)}``; jets of other
        labels are left out, and counted in ``Scores.extra["left_out"]``. Empty: the label is the class's number or
        name.
    tree
        The tree of a ROOT file, or the table of an HDF5 file; needed where there are several.
    """

    score: Mapping[str, str]
    label: str
    weight: str | None = None
    jets: Mapping[str, str] = field(default_factory=dict)
    tree: str | None = None
    values: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes by number."""
        names = tuple(self.score)
        return ("background", *names) if len(names) == 1 else names

    @property
    def needed(self) -> list[str]:
        """All columns to read."""
        wanted = [*self.score.values(), self.label, *([self.weight] if self.weight else []), *self.jets.values()]
        return list(dict.fromkeys(wanted))


def name_columns(
    score: Sequence[str],
    *,
    label: str,
    weight: str = "",
    jets: Sequence[str] = (),
    tree: str = "",
    values: Sequence[str] = (),
) -> ScoreColumns | None:
    """What the options of the verb say of another program's columns; None where they name no score.

    Raises
    ------
    InputError
        For a class or a quantity that is named twice, label values that are no whole numbers, or others' columns
        without a score.
    """
    if not score:
        if weight or jets or tree or values or label != "label":
            raise InputError("columns of another program's file are named, but no --score among them")
        return None
    pairs = {}
    for kind, texts in (("score", score), ("jet", jets)):
        named = [text.partition("=") for text in texts]
        # A column alone stands for itself.
        found = {name: column or name for name, _, column in named}
        if len(found) < len(named):
            raise InputError(f"--{kind}: a name is given twice in {', '.join(texts)}")
        pairs[kind] = found
    meant = {name: _whole_numbers(text) for name, _, text in (value.partition("=") for value in values)}
    return ScoreColumns(pairs["score"], label, weight or None, pairs["jet"], tree or None, meant)


def _whole_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise InputError(f"--values: '{text}', expected CLASS=NUMBER,NUMBER…") from error
