"""Working points that are flat in pT, and all of them as correctionlib JSON."""

import json
from typing import Any

import correctionlib
import numpy as np
import pytest

from hepcnn.errors import InputError
from hepcnn.evaluation.corrections import make_corrections, write_corrections
from hepcnn.evaluation.flat_points import JetSample, make_flat_points
from hepcnn.evaluation.intervals import clopper_pearson
from hepcnn.evaluation.samples import BinarySample, make_binary_sample
from hepcnn.evaluation.working_points import make_working_points, working_points_from_json, working_points_to_json


def jets(n: int = 20_000, *, seed: int = 0, split: str = "test", weighted: bool = False) -> JetSample:
    """Jets whose separation grows with pT, so that one cut is not flat."""
    rng = np.random.default_rng(seed)
    label, pt = np.repeat([0, 1], n), rng.uniform(300, 900, 2 * n)
    score = rng.normal(0, 1, 2 * n) * pt / 600 + 2.0 * label * pt / 600
    weight = rng.uniform(0.5, 1.5, 2 * n) if weighted else None
    return JetSample(make_binary_sample(1 / (1 + np.exp(-score)), label, weight), pt, split)


@pytest.mark.parametrize("weighted", [False, True])
def test_efficiency_is_the_target_in_each_bin_of_the_jets_that_fix_it(weighted: bool) -> None:
    sample = jets(weighted=weighted)
    points, refused = make_flat_points(sample, signal="top", background="qcd")
    assert [p.name for p in points][:2] == ["mistag_10pct_flat", "mistag_1pct_flat"]
    assert [r.name for r in refused] == [] or refused[0].name == "mistag_0.1pct_flat"
    for point in points:
        binned = point.eps_b_in_pt if point.fixed == "eps_b" else point.eps_s_in_pt
        assert binned.value == pytest.approx(point.target, rel=0.1)
        assert (binned.value <= point.target if point.fixed == "eps_b" else binned.value >= point.target).all()
        mine = sample.sample.is_signal if point.fixed == "eps_s" else ~sample.sample.is_signal
        passed = point.passes(sample.sample.score, sample.pt)
        expected = np.average(passed[mine], weights=sample.sample.weight[mine])
        assert (point.eps_s if point.fixed == "eps_s" else point.eps_b).value == pytest.approx(expected)
    assert np.ptp(points[0].thresholds) > 0.05
    json.dumps([p.to_dict() for p in points], allow_nan=False)


def test_other_jets_measure_what_some_jets_fixed() -> None:
    found, other = jets(split="val"), jets(seed=1)
    (point, *_), _ = make_flat_points(found, signal="top", background="qcd", measure_on=other)
    assert (point.found_on, point.measured_on) == ("val", "test")
    assert point.eps_b.value == pytest.approx(0.1, abs=4 * (point.eps_b.err_stat or 0))
    assert point.eps_b.value != 0.1
    inclusive = make_working_points(
        found.sample.score,
        found.sample.is_signal,
        signal="top",
        background="qcd",
        measure_on=other.sample,
        splits=("val", "test"),
    )
    for made in inclusive.points:
        assert (made.found_on, made.measured_on) == ("val", "test")
        assert made.eps_s == pytest.approx(np.mean(other.sample.score[other.sample.is_signal] >= made.threshold))
        assert made.eps_b == pytest.approx(np.mean(other.sample.score[~other.sample.is_signal] >= made.threshold))
    assert working_points_from_json(working_points_to_json(inclusive)) == inclusive


def test_points_written_before_splits_were_named_are_read() -> None:
    sample = jets(2000)
    text = working_points_to_json(
        make_working_points(sample.sample.score, sample.sample.is_signal, signal="top", background="qcd")
    )
    record = json.loads(text)
    for point in record["working_points"]:
        del point["found_on"], point["measured_on"]
    assert working_points_from_json(json.dumps(record)) == working_points_from_json(text)


def test_negative_weights_find_the_cuts_that_positive_ones_do() -> None:
    whole = jets(60_000)
    signs = np.where(np.random.default_rng(3).random(len(whole.pt)) < 0.2, -1.0, 1.0)
    mixed = JetSample(BinarySample(whole.sample.score, whole.sample.is_signal, signs), whole.pt)
    options: dict[str, Any] = {"signal": "top", "background": "qcd", "mistags": (0.1,), "eps_s": (0.5,)}
    points, refused = make_flat_points(mixed, **options)
    assert not refused
    truth, _ = make_flat_points(whole, **options)
    for found, expected in zip(points, truth, strict=True):
        kind = found.fixed
        seen = getattr(found, kind)
        assert seen.value == pytest.approx(found.target, rel=0.02)
        # What the cut does to the same jets counted one by one.
        passed = found.passes(whole.sample.score, whole.pt)[whole.members(signal=kind == "eps_s")]
        assert passed.mean() == pytest.approx(found.target, abs=5 * seen.err_stat)
        assert seen.err_stat > getattr(expected, kind).err_stat
    signs[whole.members(signal=True) & (whole.pt > np.median(whole.pt))] = -1.0
    signs[whole.members(signal=True) & (whole.pt <= np.median(whole.pt))] = 1.1
    _, refused = make_flat_points(mixed, **options)
    assert [point.reason for point in refused] == ["in a bin of pT the weights add up to nothing or less"]


def test_too_few_jets_are_refused_with_the_reason() -> None:
    points, refused = make_flat_points(jets(150), signal="top", background="qcd", mistags=(0.1,), eps_s=(0.5,))
    assert [p.name for p in points] == ["eps_s_0.5_flat"]
    assert "15.0 effective jets pass" in refused[0].reason
    with pytest.raises(InputError, match="eps_b = 2"):
        make_flat_points(jets(100), signal="top", background="qcd", mistags=(2.0,))
    with pytest.raises(InputError, match="pt"):
        JetSample(jets(10).sample, np.full(20, np.nan))


def test_tied_scores_pass_together_or_not_at_all() -> None:
    n = 400
    sample = JetSample(make_binary_sample(np.zeros(2 * n), np.repeat([0, 1], n)), np.linspace(1, 99, 2 * n))
    points, _ = make_flat_points(sample, signal="top", background="qcd", mistags=(0.3,), eps_s=(0.3,))
    by_name = {p.name: p for p in points}
    assert by_name["mistag_30pct_flat"].eps_b.value == 0.0
    assert by_name["eps_s_0.3_flat"].eps_s.value == 1.0


@pytest.fixture(scope="module")
def written() -> tuple[JetSample, np.ndarray, Any, list[Any], list[Any]]:
    sample = jets(6000, weighted=True)
    eta = np.random.default_rng(4).uniform(-2, 2, len(sample.pt))
    points = make_working_points(
        sample.sample.score, sample.sample.is_signal, sample.sample.weight, signal="top", background="qcd"
    ).points
    flat, _ = make_flat_points(sample, signal="top", background="qcd")
    text = write_corrections(
        make_corrections(points, flat, sample, eta, name="cnn_top", signal="top", background="qcd"), description="trial"
    )
    return sample, eta, correctionlib.CorrectionSet.from_string(text), list(points), flat


def test_correctionlib_gives_the_thresholds(written: Any) -> None:
    sample, _, evaluator, points, flat = written
    thresholds = evaluator["cnn_top_threshold"]
    for point in points:
        assert thresholds.evaluate(point.name, 600.0) == pytest.approx(point.threshold, rel=1e-12)
    for point in flat:
        cut = thresholds.evaluate(point.name, sample.pt)
        assert np.array_equal(sample.sample.score >= cut, point.passes(sample.sample.score, sample.pt))
        # Its reader of JSON rounds the last digit of a number otherwise.
        ends = [thresholds.evaluate(point.name, pt) for pt in (1.0, 1e5)]
        assert ends == pytest.approx([point.thresholds[0], point.thresholds[-1]], rel=1e-14)


def test_correctionlib_gives_the_efficiencies_of_counting(written: Any) -> None:
    sample, eta, evaluator, points, flat = written
    efficiency = evaluator["cnn_top_efficiency"]
    for point, passed in (
        (points[0], sample.sample.score >= points[0].threshold),
        (flat[1], flat[1].passes(sample.sample.score, sample.pt)),
    ):
        for name, members in (("top", sample.sample.is_signal), ("qcd", ~sample.sample.is_signal)):
            found = efficiency.evaluate(point.name, name, "value", sample.pt, np.abs(eta))
            for value in np.unique(found):
                mine = members & (found == value)
                w = sample.sample.weight[mine]
                assert value == pytest.approx(np.average(passed[mine], weights=w))
                n = w.sum() ** 2 / (w**2).sum()
                where = sample.pt[mine][0], abs(eta[mine][0])
                ends = [efficiency.evaluate(point.name, name, end, *where) for end in ("low", "high")]
                assert ends == pytest.approx(clopper_pearson(value * n, n))


def test_correctionlib_refuses_what_was_not_measured(written: Any) -> None:
    efficiency = written[2]["cnn_top_efficiency"]
    with pytest.raises(RuntimeError, match="bounds"):
        efficiency.evaluate("mistag_10pct", "top", "value", 1e5, 0.5)
    with pytest.raises(IndexError):
        efficiency.evaluate("mistag_11pct", "top", "value", 500.0, 0.5)


def test_a_bin_without_jets_is_nan() -> None:
    pt = np.tile([310.0, 320.0, 880.0, 890.0], 500)
    label = np.tile([0, 1, 0, 1], 500)
    eta = np.where(pt < 500, 0.2, 1.7)
    sample = JetSample(make_binary_sample(np.random.default_rng(0).random(2000) + label, label), pt)
    points = make_working_points(sample.sample.score, label, signal="top", background="qcd").points
    text = write_corrections(
        make_corrections(points, [], sample, eta, name="x", signal="top", background="qcd"), description="trial"
    )
    efficiency = correctionlib.CorrectionSet.from_string(text)["x_efficiency"]
    assert np.isnan(efficiency.evaluate(points[0].name, "top", "value", 315.0, 1.9))
    assert make_corrections([], [], sample, eta, name="x", signal="top", background="qcd") == []
