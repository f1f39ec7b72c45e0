"""Table, sentence, pictures and report of a small study."""

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from hepcnn.errors import EmptySampleError, InputError
from hepcnn.evaluation.comparison import Difference
from hepcnn.evaluation.figures import caption_of, make_study_figures
from hepcnn.evaluation.image_plots import make_average_images, plot_average_images, project_images
from hepcnn.evaluation.plots import figure_to_png, save_figure
from hepcnn.evaluation.published import PublishedRow
from hepcnn.evaluation.report import ClassCounts, CostLine, RunLink, SourceFile, StudyReport, make_picture, make_report
from hepcnn.evaluation.study import compare_taggers, make_rows
from hepcnn.evaluation.tables import (
    PairedDifference,
    TableRow,
    format_measurement,
    make_cells,
    make_latex_table,
    make_markdown_table,
    make_verdict,
)
from hepcnn.evaluation.training_plots import plot_training
from hepcnn.evaluation.working_points import make_working_points
from hepcnn.grids import LayersGrid, WindowGrid
from hepcnn.io.scores import Scores

MakeScores = Callable[..., Scores]
Study = tuple[dict[str, list[Scores]], list[TableRow], list[PairedDifference]]


@pytest.fixture
def study(scores: MakeScores) -> Study:
    tagged = {
        "cnn": [scores(1.8, seed=1), scores(1.85, seed=2)],
        "cnn_twin": [scores(1.83, seed=3), scores(1.82, seed=4)],
        "tree": [scores(2.6, seed=5)],
    }
    rows = make_rows(tagged, signal="top", baselines=("tree",), n_parameters={"cnn": 12345}, train_seconds={"cnn": 80})
    return tagged, rows, compare_taggers(tagged, rows, signal="top", n_bootstrap=50)


def test_the_sentence_names_a_baseline_that_wins(study: Study) -> None:
    _, rows, differences = study
    verdict = make_verdict(rows, differences)
    assert verdict.startswith("The baseline tree has the highest AUC")
    assert re.search(r"ahead of .*cnn by 0\.\d{4} ± 0\.\d{4} \(\d+\.\d paired standard errors\)", verdict)
    assert "single trainings" in verdict


def test_the_sentence_does_not_call_noise_a_lead(study: Study) -> None:
    tagged, *_ = study
    two = {name: tagged[name] for name in ("cnn", "cnn_twin")}
    rows = make_rows(two, signal="top")
    differences = compare_taggers(two, rows, signal="top", n_bootstrap=50)
    assert "These jets do not tell it from" in make_verdict(rows, differences)
    assert "ahead of" not in make_verdict(rows, differences)
    assert not any(cell.bold for line in make_cells(rows, differences) for cell in line)


def test_the_error_of_a_lead_holds_statistics_and_seeds(study: Study) -> None:
    tagged, rows, _ = study
    with_seeds = {d.second: d for d in compare_taggers(tagged, rows, signal="top", n_bootstrap=20) if d.metric == "auc"}
    without = [replace(row, metrics=row.metrics | {"auc": row.metrics["auc"] | {"err_seed": None}}) for row in rows]
    alone = {d.second: d for d in compare_taggers(tagged, without, signal="top", n_bootstrap=20) if d.metric == "auc"}
    spread = rows[0].metrics["auc"]["err_seed"] / np.sqrt(2)
    assert with_seeds["cnn"].difference.err_stat == pytest.approx(np.hypot(alone["cnn"].difference.err_stat, spread))
    assert with_seeds["cnn"].difference.n_sigma < alone["cnn"].difference.n_sigma


def test_tables_show_both_errors_and_bold_only_a_clear_winner(study: Study) -> None:
    _, rows, differences = study
    text = make_markdown_table(rows, differences)
    assert len(text.splitlines()) == 2 + len(rows)
    assert re.search(r"\| cnn \| 0\.\d{4} ± 0\.\d{4} \(stat\) ± 0\.\d{4} \(seed\)", text)
    assert re.search(r"\| tree \(baseline\) \|.* \*\*0\.9\d{3} ± 0\.\d{4} \(stat\)\*\*", text)
    assert "12,345 | 80 s" in text
    latex = make_latex_table(rows, differences)
    assert r"cnn\_twin" in latex
    assert r"$\pm$" in latex
    assert all(line.count("&") == 6 for line in latex.splitlines() if line.endswith(r"\\"))


def test_a_limit_is_written_as_one() -> None:
    limit = {"value": 1234.4, "err_stat": None, "is_lower_limit": True}
    assert format_measurement(limit, metric="rejection_0.3") == "> 1234 (95 % CL)"
    assert format_measurement({"value": 54.32, "err_stat": 1.26}, metric="rejection_0.5") == "54.3 ± 1.3 (stat)"


def test_an_undefined_significance_is_no_lead(study: Study) -> None:
    _, rows, _ = study
    unknown = PairedDifference("auc", "tree", "cnn", Difference(0.1, float("nan"), float("nan")))
    assert "do not tell it from cnn" in make_verdict(rows[::2], [unknown])
    assert not any(cell.bold for line in make_cells(rows[::2], [unknown]) for cell in line)


def test_a_single_tagger_has_a_table_and_a_sentence(scores: MakeScores) -> None:
    rows = make_rows({"cnn": [scores()]}, signal="top")
    assert make_verdict(rows, compare_taggers({"cnn": [scores()]}, rows, signal="top")).startswith("cnn has AUC 0.9")
    with pytest.raises(EmptySampleError):
        make_verdict([], [])
    with pytest.raises(EmptySampleError):
        make_cells([], [])


def test_taggers_on_other_jets_are_refused(scores: MakeScores) -> None:
    with pytest.raises(InputError, match="'b' was scored on other jets"):
        make_rows({"a": [scores()], "b": [scores(n=500)]}, signal="top")
    with pytest.raises(InputError, match="no signal class"):
        make_rows({"a": [scores()]}, signal="w")
    with pytest.raises(EmptySampleError):
        make_rows({"a": []}, signal="top")


def test_figures_are_drawn_and_written_whole(study: Study, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    figures = make_study_figures(study[0], signal="top")
    common = {"rejection", "roc", "significance", "calibration", "efficiency_pt", "mistag_pt"}
    assert set(figures) == {*common, *(f"scores_{n}" for n in study[0])}
    assert all(caption_of(name) for name in figures)
    paths = save_figure(figures["rejection"], tmp_path / "plots.v1" / "rejection")
    assert [p.name for p in paths] == ["rejection.png", "rejection.pdf"]
    assert Image.open(paths[0]).size == (1200, 1125)
    assert paths[1].read_bytes().startswith(b"%PDF")
    assert sorted(p.name for p in paths[0].parent.iterdir()) == ["rejection.pdf", "rejection.png"]
    assert dict(matplotlib.rcParams) == before
    first = paths[1].read_bytes()
    save_figure(figures["rejection"], tmp_path / "again")
    assert (tmp_path / "again.pdf").read_bytes() == first


def test_figures_against_pt_need_pt(scores: MakeScores) -> None:
    assert set(make_study_figures({"cnn": [scores(jets={})]}, signal="top")) == {
        "rejection", "roc", "significance", "calibration", "scores_cnn",
    }  # fmt: skip


def test_figures_of_perfect_taggers_are_drawn_or_refused(scores: MakeScores) -> None:
    with pytest.raises(EmptySampleError, match="nothing to draw"):
        plot_training({"cnn": [[]]})
    figures = make_study_figures({"cnn": [scores(6.0, n=300)]}, signal="top")
    assert figure_to_png(figures["rejection"]).startswith(b"\x89PNG")


def test_average_images_are_those_of_dense_arrays() -> None:
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((30, 4, 6)) < 0.2, rng.random((30, 4, 6)), 0.0)
    label, weight = np.arange(30) % 2, rng.uniform(0.5, 2, 30)
    flat = dense.reshape(30, -1)
    indptr = np.concatenate([[0], np.cumsum((flat > 0).sum(axis=1))])
    _, index = np.nonzero(flat)
    names = ("qcd", "top", "never")
    found = make_average_images(indptr, index, flat[flat > 0], label, weight, class_names=names, grid=(4, 6))
    assert set(found) == {"qcd", "top"}
    for number, name in ((0, "qcd"), (1, "top")):
        assert found[name] == pytest.approx(np.average(dense[label == number], axis=0, weights=weight[label == number]))
    with pytest.raises(InputError, match="outside the grid"):
        make_average_images(indptr, index + 20, flat[flat > 0], label, class_names=names, grid=(4, 6))


def test_eta_runs_along_x() -> None:
    grid = WindowGrid(n_eta=4, n_phi=6, half_width=1.0)
    image = np.zeros((4, 6))
    image[3, 0] = 1.0
    figure = plot_average_images({"top": image}, axes=grid.axes)
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (r"$\Delta\eta$", r"$\Delta\phi$")
    # Row 0 of what is drawn is the lowest phi, and its last column the highest eta.
    assert np.ma.getdata(axes.collections[0].get_array()).reshape(6, 4)[0, 3] == 1.0
    with pytest.raises(EmptySampleError):
        plot_average_images({"top": np.zeros((4, 6))}, axes=grid.axes)


def test_layers_are_added_up_unless_they_are_what_there_is_to_see() -> None:
    image = np.arange(24.0).reshape(2, 3, 4)
    flat, axes = project_images({"top": image}, LayersGrid(n_layers=2, n_eta=3, n_phi=4).axes)
    assert flat["top"].tolist() == image.sum(axis=0).tolist()
    assert [axis.name for axis in axes] == ["deta", "dphi"]
    flat, axes = project_images({"top": image.reshape(24, 1, 1)}, LayersGrid(n_layers=24).axes)
    assert (flat["top"].shape, axes[0].name) == ((24, 1), "layer")
    drawn = plot_average_images(flat, axes=axes).axes[0]
    assert drawn.get_xlabel() == "layer"


class Page(HTMLParser):
    """Collects what the page would load, and whether its tags close."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            if name in ("src", "srcset", "data", "poster"):
                self.sources.append(value or "")
            if name == "href":
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


HOSTILE = '<script>alert("x")</script>&\'{{ 1 }}'


def page_of(study: Study, **changes: Any) -> str:
    tagged, rows, differences = study
    picture = make_picture(
        plot_training({"a": [[{"epoch": 1, "val_auc": 0.9}]]}), title=HOSTILE, caption=HOSTILE, dpi=30
    )
    sample = tagged["cnn"][0]
    points = make_working_points(sample.score[:, 1], sample.label, signal="top", background="qcd")
    values: dict[str, Any] = {
        "name": HOSTILE,
        "date": HOSTILE,
        "signal": "top",
        "background": "qcd",
        "rows": [replace(rows[0], name=HOSTILE), *rows[1:]],
        "differences": [replace(d, second=HOSTILE) if d.second == "cnn" else d for d in differences],
        "summary": HOSTILE,
        "versions": {HOSTILE: HOSTILE},
        "config": {HOSTILE: HOSTILE},
        "data": [
            ClassCounts(HOSTILE, 2000, 1000, {"train": 700, HOSTILE: 300}),
            ClassCounts("qcd", 9, 8, {"train": 8}),
        ],
        "sources": [SourceFile(HOSTILE, "abcdef0123456789" * 4, 10, 1000), SourceFile("b", "0" * 64)],
        "average_images": [picture],
        "performance": [picture, picture],
        "training": [picture],
        "explanations": {HOSTILE: [picture]},
        "published": [PublishedRow(HOSTILE, {"auc": (0.98, None)}, 9, HOSTILE)],
        "working_points": {HOSTILE: points},
        "runs": [RunLink(HOSTILE, HOSTILE, "javascript:alert(1)"), RunLink("a", "1", "http://localhost:5000/#/run")],
        "reuse_python": HOSTILE,
        "reuse_cli": HOSTILE,
        "notes": [HOSTILE],
    }
    return make_report(StudyReport(**(values | changes)))


def test_the_report_stands_alone_with_every_picture_in_it(study: Study) -> None:
    text = page_of(study)
    page = Page()
    page.feed(text)
    page.close()
    assert not page.open
    assert len(page.sources) == 5
    for source in page.sources:
        head, data = source.split(",", 1)
        assert head == "data:image/png;base64"
        Image.open(io.BytesIO(base64.b64decode(data, validate=True))).verify()
    assert not page.tags & {"script", "link", "iframe", "object"}
    assert page.links == ["http://localhost:5000/#/run"]
    assert "@import" not in text
    assert "url(" not in text


def test_the_report_escapes_everything(study: Study) -> None:
    text = page_of(study)
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;&amp;&#39;{{ 1 }}") > 20
    assert "abcdef012345…" in text
    assert "not given: " in text


def test_a_report_of_the_barest_study_has_no_empty_sections(study: Study) -> None:
    _, rows, differences = study
    text = make_report(StudyReport("s", "today", "top", "qcd", rows, differences))
    assert re.findall(r"<h2>(.*?)</h2>", text) == ["Comparison"]
    assert make_verdict(rows, differences) in text.replace("&gt;", ">")


def test_the_report_says_what_it_cost(study: Study) -> None:
    nan = float("nan")
    costs = [CostLine("train", 3, 0.5, 1.0, 0.9, 2.25), CostLine("evaluate", 1, None, 10 / 3600, nan, nan)]
    text = page_of(study, costs=costs, cost_notes=["a note"])
    section = text[text.index('<section id="cost">') :].split("</section>")[0]
    cells = [re.sub(r"\s+", " ", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", section, re.DOTALL)]
    assert cells[7:] == [
        *("train", "3", "30.0 min", "60.0 min", "2.00", "54.0 min", "2.25"),
        *("evaluate", "1", "–", "10 s", "–", "–", "–"),
    ]
    assert "a note" in section
    assert 'id="cost"' not in page_of(study)
