"""Scores of jets → columns of a tree with one row per entry of the input; and the check that they were written so."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from hepcnn.errors import HepcnnError, SchemaError
from hepcnn.io.root import open_root
from hepcnn.outputs import split_values
from hepcnn.tagger.cuts import Cut, list_signals
from hepcnn.tagger.ranges import RangeScores
from hepcnn.tagger.tagger import Tagger

FRIEND_TREE = "hepcnn"
COPY_PREFIX = "hepcnn_"


class FriendColumns:
    """Makes the columns of ranges.

    Parameters
    ----------
    tagger
        The tagger.
    one_jet_an_entry
        Whether the branches are numbers, ``score_<class>``, or lists, ``jet_score_<class>``.
    discriminants
        Whether to add ``discriminant_<signal>``.
    cuts
        The working points to add as ``pass_<signal>_<name>``.
    prefix
        Of all names; where there is one, keys of the event and the jets' pT are left out, since they stand beside.
    """

    def __init__(
        self,
        tagger: Tagger,
        *,
        one_jet_an_entry: bool,
        discriminants: bool = False,
        cuts: Iterable[Cut] = (),
        prefix: str = "",
    ) -> None:
        self._tagger, self._flat, self._prefix = tagger, one_jet_an_entry, prefix
        self._signals = list(list_signals(tagger.manifest)) if discriminants else []
        self._cuts = tuple(cuts)

    def make(self, scores: RangeScores) -> dict[str, Any]:
        """The columns of one range, (n_entries,) or (n_entries, var)."""
        outputs = split_values(scores.values, self._tagger.tasks)
        score = outputs["score"]
        jets: dict[str, Any] = {f"score_{name}": score[:, k] for k, name in enumerate(self._tagger.class_names)}
        # Not 'energy': a friend's branch would hide one of that name in the input.
        jets |= {f"predicted_{name}": values for name, values in outputs.items() if name != "score"}
        for signal in self._signals:
            ratio = self._tagger.discriminant(score, signal)
            jets[f"discriminant_{signal}"] = ratio.astype(np.float32)
        for cut in self._cuts:
            jets[f"pass_{cut.signal}_{_branch_name(cut.name)}"] = cut.passes(score, scores.pt)
        if not self._flat:
            jets = {f"jet_{name}": values for name, values in jets.items()}
            if not self._prefix:
                jets["jet_pt"] = scores.pt
            jets = {name: ak.unflatten(values, scores.per_entry) for name, values in jets.items()}
        if self._prefix:
            return {f"{self._prefix}{name}": values for name, values in jets.items()}
        return dict(scores.keys) | jets


def _branch_name(name: str) -> str:
    """A working point's name without dots, which are paths to ROOT: ``eps_s_0.3`` is ``eps_s_0p3``."""
    return name.replace(".", "p")


def choose_cuts(tagger: Tagger, names: Iterable[str]) -> tuple[Cut, ...]:
    """The bundle's working points of these names; ``all`` stands for every one.

    Raises
    ------
    SchemaError
        When the bundle has none, or none of a name.
    """
    wanted, there = list(names), tagger.cuts
    if not wanted:
        return ()
    known = list(dict.fromkeys(cut.name for cut in there))
    for name in wanted:
        if name != "all" and name not in known:
            raise SchemaError(f"the bundle has no working point '{name}'; it has: {', '.join(known) or 'none'}")
    if not there:
        raise SchemaError("the bundle has no working points")
    return there if "all" in wanted else tuple(cut for cut in there if cut.name in wanted)


def check_written(path: Path, tree: str, expected: Iterable[Mapping[str, Any]], final: Path) -> None:
    """Read a tree back and compare it, block by block, with what was to be written.

    Raises
    ------
    HepcnnError
        When it does not hold that; the message names branch and entry.
    """
    start = 0
    with open_root(path) as file:
        table = file.table(tree)
        for block in expected:
            stop = start + len(next(iter(block.values())))
            found = table.read(list(block), start, min(stop, table.n_entries))
            for name, values in block.items():
                if (at := _first_difference(values, found[name])) is not None:
                    raise HepcnnError(
                        f"{final}: what was written does not read back: branch '{name}' differs at entry {start + at}; "
                        "the file is not kept"
                    )
            start = stop
        if table.n_entries != start:
            raise HepcnnError(f"{final}: {table.n_entries} entries were written, expected {start}; it is not kept")


def _first_difference(values: Any, found: ak.Array) -> int | None:
    expected = ak.Array(values)
    if len(found) != len(expected):
        return min(len(found), len(expected))
    if expected.ndim == 1:
        same = _equal(ak.to_numpy(expected), ak.to_numpy(found))
        return None if same.all() else int(np.flatnonzero(~same)[0])
    counts, others = (ak.to_numpy(ak.num(array, axis=1)) for array in (expected, found))
    if not np.array_equal(counts, others):
        return int(np.flatnonzero(counts != others)[0])
    same = _equal(*(ak.to_numpy(ak.flatten(array, axis=1)) for array in (expected, found)))
    if same.all():
        return None
    return int(np.repeat(np.arange(len(counts)), counts)[np.flatnonzero(~same)[0]])


def _equal(one: Any, other: Any) -> Any:
    if one.dtype.kind in "OUS" or other.dtype.kind in "OUS":
        return one.astype(str) == other.astype(str)
    return (one == other) | ((one != one) & (other != other))
