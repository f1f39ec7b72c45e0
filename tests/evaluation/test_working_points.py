"""Working points: right by counting, refused where the sample cannot carry them."""

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest

from hepcnn.errors import InputError
from hepcnn.evaluation.working_points import (
    WorkingPoint,
    WorkingPoints,
    make_working_points,
    working_points_from_json,
    working_points_to_json,
)

Toy = Callable[..., tuple[np.ndarray, np.ndarray]]


def points(score: np.ndarray, label: np.ndarray, **options: object) -> WorkingPoints:
    return make_working_points(score, label, signal="top", background="qcd", **options)  # type: ignore[arg-type]


def by_name(found: WorkingPoints) -> dict[str, WorkingPoint]:
    return {point.name: point for point in found.points}


def test_thresholds_give_the_efficiencies_they_claim(toy: Toy) -> None:
    score, label = toy(20_000)
    found = points(score, label)
    assert list(by_name(found)) == ["mistag_10pct", "mistag_1pct", "mistag_0.1pct", "eps_s_0.3", "eps_s_0.5"]
    assert not found.refused
    for point in found.points:
        assert point.eps_s == pytest.approx(np.mean(score[label == 1] >= point.threshold))
        assert point.eps_b == pytest.approx(np.mean(score[label == 0] >= point.threshold))
        assert point.discriminant == "p_top / (p_top + p_qcd)"
        reached = point.eps_b if point.fixed == "eps_b" else point.eps_s
        assert reached == pytest.approx(point.target, rel=1e-3)
    loose = by_name(found)["mistag_10pct"]
    assert loose.eps_b_err == pytest.approx(np.sqrt(0.1 * 0.9 / 20_000), rel=0.02)


def test_threshold_is_not_on_a_jet(toy: Toy) -> None:
    score, label = toy(3000)
    assert all(point.threshold not in score for point in points(score, label).points)


def test_points_that_the_sample_cannot_carry_are_refused_with_a_reason(toy: Toy) -> None:
    found = points(*toy(4000))
    (refused,) = found.refused
    assert refused.name == "mistag_0.1pct"
    assert "0.1 % of 4000 effective background jets is 4.0, fewer than the 10" in refused.reason
    none_left = points(*toy(500, distance=9.0))
    assert {r.name for r in none_left.refused} >= {"eps_s_0.3", "eps_s_0.5"}
    assert "only 0.0 of 500 effective background jets pass" in none_left.refused[-1].reason


def test_weights_that_make_few_jets_count_are_refused(toy: Toy) -> None:
    score, label = toy(1000)
    weight = np.where(np.arange(2000) % 50 == 0, 1.0, 1e-6)
    found = make_working_points(score, label, weight, signal="top", background="qcd", mistags=(0.1,), eps_s=())
    assert not found.points
    assert "20 effective background jets" in found.refused[0].reason


def test_tied_scores_are_refused_not_invented() -> None:
    label = np.tile([0, 1], 20_000)
    found = points(np.zeros(40_000), label)
    assert not found.points
    assert all("tied scores" in r.reason for r in found.refused)


def test_json_round_trip(toy: Toy) -> None:
    found = points(*toy(2000))
    text = working_points_to_json(found)
    assert working_points_from_json(text) == found
    assert json.loads(text)["working_points"][0]["name"] == "mistag_10pct"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": "high"}, "threshold = 'high'"),
        ({"threshold": None}, "threshold = None"),
        ({"treshold": 0.5}, "unknown field 'treshold'; did you mean 'threshold'"),
    ],
)
def test_json_of_a_stranger_is_checked(toy: Toy, change: dict[str, object], message: str) -> None:
    record = json.loads(working_points_to_json(points(*toy(2000))))
    record["working_points"][0] |= change
    with pytest.raises(InputError, match=message):
        working_points_from_json(json.dumps(record))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"working_points": [3]}', '{"working_points": [{"name": "a"}]}'])
def test_text_that_is_no_list_of_points_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        working_points_from_json(text)


def test_targets_outside_their_range_and_changes_are_refused(toy: Toy) -> None:
    with pytest.raises(InputError, match="eps_b = 10"):
        points(*toy(100), mistags=(10,))
    point = points(*toy(2000)).points[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.threshold = 0.0  # type: ignore[misc]
