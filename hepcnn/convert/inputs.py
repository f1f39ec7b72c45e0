"""Which files are read, how, and which of their jets belong to which class."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hepcnn.config import LabelConfig, StrictModel
from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.io.heads import is_remote
from hepcnn.io.plan import Reading, jet_radius, list_labels, list_truth


@dataclass(frozen=True)
class LabelledFiles:
    """Files of one family whose jets are of one class: all of them or, with a ``claim``, those with some labels.

    A ``reading`` that is a text is the name of the schema: ``family`` or ``family:collection``.
    """

    files: Sequence[str | os.PathLike[str]]
    reading: Reading | str
    class_name: str
    claim: LabelConfig | None = None


class Source(StrictModel):
    """One file to be read.

    Its jets are of the class ``class_number``, unless there is a ``label``: then ``classes`` gives the number of the
    class by the label's value, and ``others`` names classes that are not converted now, by the values that they claim.
    """

    path: str
    reading: Reading
    class_number: int | None = None
    label: str | None = None
    classes: dict[int, int] = {}
    others: dict[int, str] = {}

    @property
    def class_of_the_rest(self) -> int:
        """Which class a jet is counted with that none of this conversion claims; -1 if there are several."""
        if self.class_number is not None:
            return self.class_number
        numbers = set(self.classes.values())
        return numbers.pop() if len(numbers) == 1 else -1


def list_sources(
    inputs: Sequence[LabelledFiles], class_names: Sequence[str], others: Sequence[LabelledFiles] = ()
) -> list[Source]:
    """Join what is said of each file, and check that it makes sense.

    Parameters
    ----------
    inputs
        What is converted, in this order.
    class_names
        All classes.
    others
        Classes of the same study that are not converted now. They may claim jets of the same files.

    Raises
    ------
    ConfigError
        For an unknown class or label, a file that is named twice, or two classes that claim the same jets.
    """
    sources: dict[str, Source] = {}
    for group in inputs:
        number = _find_class(group.class_name, class_names)
        reading = Reading(group.reading) if isinstance(group.reading, str) else group.reading
        for path in group.files:
            new = _make_source(str(path), reading, number, group.claim)
            key = _identify(path)
            known = sources.get(key)
            sources[key] = new if known is None else _join(known, new, class_names)
    for group in others:
        for path in group.files:
            if source := sources.get(_identify(path)):
                sources[_identify(path)] = _note_others(source, group, class_names)
    return list(sources.values())


def common_radius(sources: Sequence[Source]) -> float:
    """The radius of the jets of all files.

    Raises
    ------
    ConfigError
        When they differ.
    """
    radii: dict[float, str] = {}
    for source in sources:
        radii.setdefault(jet_radius(source.reading), source.reading.schema)
    if len(radii) != 1:
        listed = ", ".join(f"{schema}: {radius:g}" for radius, schema in radii.items())
        raise ConfigError(f"jets of one radius are needed, these have: {listed or 'none (no input)'}")
    return next(iter(radii))


def ask_for_truth(sources: Sequence[Source], names: Sequence[str]) -> list[Source]:
    """The same sources, but of the numbers that come along with jets these are read, and no others.

    Raises
    ------
    ConfigError
        For one that a family does not offer; the message names the nearest.
    """
    asked = []
    for source in sources:
        offered = list_truth(source.reading)
        for name in names:
            if name not in offered:
                hint = did_you_mean(name, offered) or "; it offers none"
                raise ConfigError(f"truth: schema '{source.reading.schema}' offers no '{name}'{hint}")
        asked.append(source.model_copy(update={"reading": replace(source.reading, extra=tuple(names))}))
    return asked


def _identify(path: str | os.PathLike[str]) -> str:
    return str(path) if is_remote(path) else str(Path(path).resolve())


def _find_class(name: str, class_names: Sequence[str]) -> int:
    if name not in class_names:
        raise ConfigError(f"label '{name}' is not one of the classes{did_you_mean(name, class_names)}")
    return list(class_names).index(name)


def _make_source(path: str, reading: Reading, number: int, claim: LabelConfig | None) -> Source:
    if claim is None:
        return Source(path=path, reading=reading, class_number=number)
    offered = list_labels(reading)
    if claim.name not in offered:
        hint = did_you_mean(claim.name, offered) or "; it offers none"
        raise ConfigError(f"schema '{reading.schema}' offers no label '{claim.name}'{hint}")
    return Source(path=path, reading=reading, label=claim.name, classes=dict.fromkeys(claim.values, number))


def _join(one: Source, other: Source, class_names: Sequence[str]) -> Source:
    """One source of two that are the same file."""
    if one.label is None or other.label is None:
        raise ConfigError(f"{other.path}: this file is named twice, but its jets are to be counted once")
    if (one.label, one.reading) != (other.label, other.reading):
        raise ConfigError(f"{other.path}: classes of one file are told apart by one label, and read by one schema")
    _refuse_clash(one, {value: class_names[number] for value, number in other.classes.items()}, class_names)
    return one.model_copy(update={"classes": one.classes | other.classes})


def _note_others(source: Source, group: LabelledFiles, class_names: Sequence[str]) -> Source:
    if source.label is None or group.claim is None or source.label != group.claim.name:
        raise ConfigError(
            f"{source.path}: class '{group.class_name}' reads this file too: give both a 'label' of the same name, "
            "with the values that belong to each"
        )
    claims = dict.fromkeys(group.claim.values, group.class_name)
    _refuse_clash(source, claims, class_names)
    return source.model_copy(update={"others": source.others | claims})


def _refuse_clash(source: Source, claims: dict[int, str], class_names: Sequence[str]) -> None:
    for value, name in claims.items():
        if value in source.classes:
            first = class_names[source.classes[value]]
            raise ConfigError(
                f"{source.path}: jets with {source.label} {value} are claimed by '{first}' and by '{name}'"
            )
