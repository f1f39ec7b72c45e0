"""Pictures: what they draw, against other implementations, and whose style they follow."""

from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from hepcnn.errors import ConfigError, EmptySampleError, InputError
from hepcnn.evaluation.bands import make_band
from hepcnn.evaluation.curve_plots import plot_rejection, plot_roc, plot_significance
from hepcnn.evaluation.diagnostic_plots import plot_calibration, plot_confusion, plot_sculpting
from hepcnn.evaluation.figures import make_class_figures, make_study_figures
from hepcnn.evaluation.metrics import RejectionCurve, rejection_curve
from hepcnn.evaluation.plot_style import PlotStyle, use_style
from hepcnn.evaluation.plots import figure_to_png
from hepcnn.evaluation.response_plots import make_response_table, plot_response
from hepcnn.evaluation.training_plots import plot_training
from hepcnn.io.scores import Scores

MakeScores = Callable[..., Scores]


def curve(values: list[float]) -> RejectionCurve:
    rejection = np.array(values)
    eps_s = np.linspace(0.2, 0.8, len(values))
    return RejectionCurve(eps_s, rejection, 0.9 * rejection, 1.2 * rejection)


def texts(figure: Any) -> str:
    return " ".join(text.get_text() for axes in figure.axes for text in axes.findobj(matplotlib.text.Text))


def test_a_band_keeps_statistics_and_seeds_apart() -> None:
    band = make_band([curve([100.0, 20.0]), curve([140.0, 20.0])])
    assert band.value.tolist() == [120.0, 20.0]
    assert band.stat_low == pytest.approx([108.0, 18.0])
    assert band.stat_high == pytest.approx([144.0, 24.0])
    # The spread of 100 and 140 is their distance over the root of two.
    assert band.low == pytest.approx([120 - np.hypot(12, 40 / np.sqrt(2)), 18.0])
    assert band.high == pytest.approx([120 + np.hypot(24, 40 / np.sqrt(2)), 24.0])
    ratio = band.ratio_to(make_band([curve([60.0, 10.0])]))
    assert ratio.value.tolist() == [2.0, 2.0]
    assert ratio.stat_low == pytest.approx([1.8, 1.8])


def test_a_single_training_has_one_band() -> None:
    band = make_band([curve([100.0, np.nan])])
    assert band.low is band.stat_low
    assert np.isnan(band.value[1]), "no background left is no point"


def test_the_quantities_are_functions_of_eps_b() -> None:
    one = curve([100.0, 25.0])
    eps_b, improvement = make_band([one], "eps_b"), make_band([one], "significance")
    assert eps_b.value == pytest.approx([0.01, 0.04])
    assert (eps_b.stat_low < eps_b.value).all()
    assert (eps_b.stat_high > eps_b.value).all()
    assert improvement.value == pytest.approx(one.eps_s / np.sqrt([0.01, 0.04]))


def test_bands_of_nothing_or_of_different_efficiencies_are_refused() -> None:
    with pytest.raises(EmptySampleError):
        make_band([])
    with pytest.raises(InputError, match="different signal efficiencies"):
        make_band([curve([1.0, 2.0]), curve([1.0, 2.0, 3.0])])
    with pytest.raises(InputError, match="did you mean 'rejection'"):
        make_band([curve([1.0])], "rejektion")  # type: ignore[arg-type]
    for plot in (plot_rejection, plot_roc, plot_significance):
        with pytest.raises(EmptySampleError):
            plot({}, signal="top", background="qcd")


def test_the_ratio_panel_holds_the_ratio_to_the_first(scores: MakeScores) -> None:
    tagged = {"a": scores(2.0, seed=1), "b": scores(2.5, seed=2)}
    curves = {n: rejection_curve(s.score[:, 1], s.label) for n, s in tagged.items()}
    bands = {name: make_band([found]) for name, found in curves.items()}
    figure = plot_rejection(bands, signal="top", background="qcd")
    above, below = figure.axes
    assert above.get_legend().get_texts()[0].get_text() == "a"
    drawn = below.lines[1]
    at = np.searchsorted(curves["a"].eps_s, drawn.get_xdata())
    assert drawn.get_ydata() == pytest.approx((curves["b"].rejection / curves["a"].rejection)[at])
    assert len(plot_rejection({"a": bands["a"]}, signal="top", background="qcd").axes) == 1


def test_calibration_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(2000)
    truth = rng.random(2000) < p**1.5
    figure = plot_calibration({"cnn": (p, truth, None)}, signal="top")
    points = next(line for line in figure.axes[0].lines if line.get_marker() == "o")
    fraction, mean = calibration_curve(truth, p, n_bins=10)
    assert points.get_xdata() == pytest.approx(mean)
    assert points.get_ydata() == pytest.approx(fraction)


def test_calibration_refuses_what_is_no_probability() -> None:
    with pytest.raises(InputError, match=r"from 0\.5 to 1\.5"):
        plot_calibration({"cnn": ([0.5, 1.5], [0, 1], None)}, signal="top")
    with pytest.raises(InputError):
        plot_calibration({"cnn": ([0.5, np.nan], [0, 1], None)}, signal="top")
    with pytest.raises(EmptySampleError):
        plot_calibration({"cnn": ([], [], None)}, signal="top")


def test_confusion_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    label, guess, weight = rng.integers(0, 3, 500), rng.integers(0, 3, 500), rng.random(500)
    figure = plot_confusion(guess, label, weight, class_names=("a", "b", "c"))
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    assert drawn == pytest.approx(confusion_matrix(label, guess, sample_weight=weight, normalize="true"))


def test_a_class_without_jets_has_a_blank_row() -> None:
    figure = plot_confusion([0, 0], [0, 0], class_names=("a", "b"))
    drawn = figure.axes[0].images[0].get_array()
    assert drawn[0].tolist() == [1.0, 0.0]
    assert np.isnan(np.ma.filled(drawn[1], np.nan)).all()
    with pytest.raises(EmptySampleError):
        plot_confusion([0], [0], [0.0], class_names=("a", "b"))
    with pytest.raises(InputError):
        plot_confusion([2], [0], class_names=("a", "b"))


def test_sculpting_draws_densities_and_the_pass_rate() -> None:
    rng = np.random.default_rng(2)
    mass = rng.gamma(3.0, 30.0, 5000)
    passed = {"heavy": mass > 100, "never": np.zeros(5000, bool)}
    figure = plot_sculpting(mass, passed, background="qcd", bins=20)
    above, below = figure.axes
    stairs = [patch.get_data() for patch in above.patches]
    for data in stairs[:2]:
        assert (data.values * np.diff(data.edges)).sum() == pytest.approx(1.0)
    rates = below.lines[0]
    edges = stairs[0].edges
    inside = np.clip(mass, edges[0], edges[-1])
    total, kept = (np.histogram(values, edges)[0] for values in (inside, inside[mass > 100]))
    assert rates.get_ydata() == pytest.approx((kept / total)[kept > 0])
    assert "nothing passes" in texts(figure)
    with pytest.raises(EmptySampleError):
        plot_sculpting([], {}, background="qcd")


def test_training_curves_are_means_over_seeds() -> None:
    runs = [[{"epoch": 1.0, "val_auc": 0.8}, {"epoch": 2.0, "val_auc": 0.9}], [{"epoch": 1.0, "val_auc": 0.9}]]
    panel = plot_training({"cnn": runs}).axes[1]
    assert panel.lines[0].get_xdata().tolist() == [1.0, 2.0]
    assert panel.lines[0].get_ydata() == pytest.approx([0.85, 0.9])
    band = panel.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() - 0.85 == pytest.approx(0.1 / np.sqrt(2))


@pytest.mark.parametrize(("name", "experiment"), [("cms", "CMS"), ("atlas", "ATLAS")])
def test_an_experiments_label_is_an_option(scores: MakeScores, name: str, experiment: str) -> None:
    before = dict(matplotlib.rcParams)
    predicted = {"cnn": (scores().score[:, 1], scores().label, None)}
    with use_style(PlotStyle(name, "Work in progress")):
        figure = plot_calibration(predicted, signal="top")
        assert figure_to_png(figure, dpi=40).startswith(b"\x89PNG")
    assert f"{experiment}" in texts(figure)
    assert "Work in progress" in texts(figure)
    assert experiment not in texts(plot_calibration(predicted, signal="top")), "the style ends with its block"
    assert dict(matplotlib.rcParams) == before


def test_an_unknown_style_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'atlas'"):
        PlotStyle("atals")


def test_all_classes_have_a_confusion_and_masses_a_sculpting(scores: MakeScores) -> None:
    jets = scores().jets
    jets = jets | {"mass": np.abs(jets["pt"] - 500), "eta": jets["pt"] / 1000}
    tagged = {"cnn": [scores(jets=jets)], "tree": [scores(2.5, seed=3, jets=jets)]}
    assert set(make_class_figures(tagged)) == {"confusion_cnn", "confusion_tree"}
    figures = make_study_figures(tagged, signal="top")
    assert {"sculpting", "efficiency_eta", "mistag_eta"} <= set(figures)
    flat = {"cnn": [scores(jets=jets | {"mass": jets["pt"] * 0, "eta": jets["pt"] * 0})]}
    assert not {"sculpting", "efficiency_eta", "mistag_eta"} & set(make_study_figures(flat, signal="top"))
    other = {"cnn": tagged["cnn"], "tree": [scores(2.5, n=500, jets={n: v[:1000] for n, v in jets.items()})]}
    assert {"sculpting_cnn", "sculpting_tree"} <= set(make_study_figures(other, signal="top")), "not the same jets"


def test_many_taggers_have_their_legend_beside_the_axes() -> None:
    bands = {f"tagger {n}": make_band([curve([100.0 + n, 20.0])]) for n in range(8)}
    figure = plot_rejection(bands, signal="top", background="qcd")
    assert figure.axes[0].get_legend() is None
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*bands, "guessing"]
    figure.draw_without_rendering()  # lays it out
    box, axes = legend.get_window_extent(), figure.axes[0].get_window_extent()
    assert box.x0 > axes.x1
    assert box.x1 < figure.bbox.x1


def response(shift: float) -> dict[str, Any]:
    def measured(eps_s: float, eps_b: float) -> dict[str, Any]:
        point = {"err_stat": 0.01, "err_low": 0.01, "err_high": 0.02}
        found = {"eps_s_at_cut": {"value": eps_s} | point, "eps_b_at_cut": {"value": eps_b} | point}
        return found | {"auc": {"value": 0.9 + shift, "err_stat": 0.005}}

    changed = measured(0.48, 0.06) | {"about": "5 % smearing", "auc_change": {"value": -0.01, "err_stat": 0.002}}
    return {"nominal": measured(0.5, 0.05), "variations": {"smear": changed}, "others": {"fsr_up": measured(0.4, 0.1)}}


def test_a_response_is_drawn_over_the_nominal_one_and_listed() -> None:
    responses = {"a": response(0.0), "b": response(0.05)}
    figure = plot_response(responses, signal="top", background="qcd")
    left, right = figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["5 % smearing", "fsr_up"]
    assert left.containers[0].lines[0].get_xdata() == pytest.approx([0.48, 0.4])
    assert right.containers[1].lines[0].get_xdata() == pytest.approx([1.2, 2.0])
    assert make_response_table(responses) == [
        ["AUC", "a", "b"],
        ["nominal", "0.9000 ± 0.0050", "0.9500 ± 0.0050"],
        ["5 % smearing", "-0.0100 ± 0.0020", "-0.0100 ± 0.0020"],
        ["fsr_up", "0.9000 ± 0.0050", "0.9500 ± 0.0050"],
    ]
    with pytest.raises(EmptySampleError):
        plot_response({}, signal="top", background="qcd")
