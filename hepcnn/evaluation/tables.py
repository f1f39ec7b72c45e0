"""The comparison table, and the sentence that says who is ahead and by how many errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hepcnn.errors import EmptySampleError
from hepcnn.evaluation.comparison import Difference
from hepcnn.evaluation.published import PublishedRow

SIGNIFICANT = 2.0
"""Paired standard errors from which a difference is called one."""

METRICS: Mapping[str, str] = {
    "accuracy": "accuracy",
    "auc": "AUC",
    "rejection_0.3": "1/eps_b at eps_s = 0.3",
    "rejection_0.5": "1/eps_b at eps_s = 0.5",
}
"""Columns with errors, in the order of the table; larger is better in all of them."""


@dataclass(frozen=True)
class TableRow:
    """One tagger.

    Attributes
    ----------
    name
        Of the tagger.
    metrics
        One signal's record of `hepcnn.evaluation.summary.evaluate_scores`.
    n_parameters
        Fitted numbers, where known.
    train_seconds
        Time of one training, where known.
    is_baseline
        Whether it is a baseline rather than a network.
    """

    name: str
    metrics: Mapping[str, Any]
    n_parameters: int | None = None
    train_seconds: float | None = None
    is_baseline: bool = False

    def measurement(self, metric: str) -> Mapping[str, Any]:
        """Give ``{"value", "err_stat", …}`` of one of `METRICS`."""
        if metric.startswith("rejection_"):
            found: Mapping[str, Any] = self.metrics["rejection"][metric.removeprefix("rejection_")]
        else:
            found = self.metrics[metric]
        return found


@dataclass(frozen=True)
class PairedDifference:
    """How far one tagger is ahead of another.

    Attributes
    ----------
    metric
        One of `METRICS`.
    first, second
        Names; the first has the larger value.
    difference
        First minus second.
    is_paired
        Whether both were measured on the same jets, which makes the error smaller.
    """

    metric: str
    first: str
    second: str
    difference: Difference
    is_paired: bool = True

    @property
    def unit(self) -> str:
        """What its significance is counted in."""
        return "paired standard errors" if self.is_paired else "standard errors"


@dataclass(frozen=True)
class Cell:
    """Text of one cell, and whether it is set in bold."""

    text: str
    bold: bool = False


def format_measurement(measurement: Mapping[str, Any], *, metric: str) -> str:
    """Write a number with its errors: ``0.9845 ± 0.0006 (stat) ± 0.0003 (seed)``, or ``> 1337 (95 % CL)``."""
    digits = 4 if not metric.startswith("rejection") else (0 if measurement["value"] >= 100 else 1)
    if measurement.get("is_lower_limit"):
        return f"> {measurement['value']:.{digits}f} (95 % CL)"
    text = f"{measurement['value']:.{digits}f}"
    if measurement.get("err_stat") is not None:
        text += f" ± {measurement['err_stat']:.{digits}f} (stat)"
    if measurement.get("err_seed") is not None:
        text += f" ± {measurement['err_seed']:.{digits}f} (seed)"
    return text


def make_cells(rows: Sequence[TableRow], differences: Sequence[PairedDifference]) -> list[list[Cell]]:
    """Lay out the table: a header row, then one row per tagger.

    Parameters
    ----------
    rows
        In the order of the table.
    differences
        Of the best tagger of each metric against every other, as `hepcnn.evaluation.study.compare_taggers` gives. The
        best is bold only where it is significantly ahead of all others.

    Raises
    ------
    EmptySampleError
        For no rows.
    """
    if not rows:
        raise EmptySampleError("no tagger to compare, expected at least one row")
    table = [[Cell("tagger"), *(Cell(title) for title in METRICS.values()), Cell("parameters"), Cell("training")]]
    bold = {metric: clear_winner(metric, len(rows), differences) for metric in METRICS}
    for row in rows:
        cells = [Cell(row.name + (" (baseline)" if row.is_baseline else ""))]
        for metric in METRICS:
            text = format_measurement(row.measurement(metric), metric=metric)
            cells.append(Cell(text, bold=bold[metric] == row.name))
        cells.append(Cell("–" if row.n_parameters is None else f"{row.n_parameters:,}"))
        cells.append(Cell("–" if row.train_seconds is None else _duration(row.train_seconds)))
        table.append(cells)
    return table


def make_published_cells(rows: Sequence[PublishedRow]) -> list[list[Cell]]:
    """Lay out published rows in the columns of `make_cells`; what was not published is a dash."""
    table = []
    for row in rows:
        cells = [Cell(f"{row.name} ({row.source}, {row.n_trainings} trainings)")]
        for metric in METRICS:
            value, error = row.values.get(metric, (None, None))
            # As many digits as were published, not as many as ours have.
            text = "–" if value is None else f"{value:g}" + ("" if error is None else f" ± {error:g} (seed)")
            cells.append(Cell(text))
        table.append([*cells, Cell("–"), Cell("–")])
    return table


def clear_winner(metric: str, n_rows: int, differences: Sequence[PairedDifference]) -> str | None:
    """Which tagger is significantly ahead of all others in a metric; None where none is."""
    mine = [d for d in differences if d.metric == metric]
    if n_rows < 2 or len(mine) < n_rows - 1 or not all(d.difference.n_sigma >= SIGNIFICANT for d in mine):
        return None
    return mine[0].first


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def make_markdown_table(
    rows: Sequence[TableRow], differences: Sequence[PairedDifference], published: Sequence[PublishedRow] = ()
) -> str:
    """Write the table as Markdown, with published rows below ours."""
    cells = make_cells(rows, differences) + make_published_cells(published)
    lines = ["| " + " | ".join(_markdown(cell) for cell in line) + " |" for line in cells]
    lines.insert(1, "| --- |" + " ---: |" * (len(cells[0]) - 1))
    return "\n".join(lines) + "\n"


def _markdown(cell: Cell) -> str:
    text = cell.text.replace("|", r"\|").replace("\n", " ")
    return f"**{text}**" if cell.bold else text


def make_latex_table(
    rows: Sequence[TableRow], differences: Sequence[PairedDifference], published: Sequence[PublishedRow] = ()
) -> str:
    """Write the table as a LaTeX tabular (with booktabs' rules), with published rows below ours."""
    cells = make_cells(rows, differences)
    head, *body = [" & ".join(_latex(cell) for cell in line) + r" \\" for line in cells]
    if published:
        others = make_published_cells(published)
        body += [r"\midrule", *(" & ".join(_latex(cell) for cell in line) + r" \\" for line in others)]
    columns = "l" + "r" * (len(cells[0]) - 1)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", ">": "$>$", "<": "$<$", "–": "--",
}  # fmt: skip


def _latex(cell: Cell) -> str:
    text = cell.text.replace("1/eps_b at eps_s =", "\0")
    text = "".join(_LATEX.get(letter, letter) for letter in text)
    text = text.replace("\0", r"$1/\epsilon_b$ at $\epsilon_s =$")
    return rf"\textbf{{{text}}}" if cell.bold else text


def make_verdict(rows: Sequence[TableRow], differences: Sequence[PairedDifference]) -> str:
    """Say in plain words who is ahead in AUC and in rejection, by how much, and whether these jets can tell.

    Notes
    -----
    Names a baseline as readily as a network. A difference below two standard errors is said to be none.
    """
    if not rows:
        raise EmptySampleError("no tagger to compare, expected at least one row")
    sentences = [_sentence(metric, rows, differences) for metric in ("auc", "rejection_0.3")]
    if any(row.metrics.get("n_seeds", 1) < 2 for row in rows):
        sentences.append("Rows without a seed error are single trainings: their errors come from the test jets alone.")
    return " ".join(sentence for sentence in sentences if sentence)


def _sentence(metric: str, rows: Sequence[TableRow], differences: Sequence[PairedDifference]) -> str:
    by_name = {row.name: row for row in rows}
    mine = sorted((d for d in differences if d.metric == metric), key=lambda d: d.difference.n_sigma)
    title = METRICS[metric]
    if not mine:
        only = max(rows, key=lambda row: row.measurement(metric)["value"])
        return f"{only.name} has {title} {format_measurement(only.measurement(metric), metric=metric)}."
    leader = by_name[mine[0].first]
    kind = "baseline " if leader.is_baseline else ""
    number = format_measurement(leader.measurement(metric), metric=metric)
    sentences = [f"The {kind}{leader.name} has the highest {title}, {number}."]
    told = [d for d in mine if d.difference.n_sigma >= SIGNIFICANT]
    untold = [d for d in mine if not d.difference.n_sigma >= SIGNIFICANT]
    if told:
        sentences.append(f"It is ahead of {_join([_ahead(pair, by_name[pair.second]) for pair in told])}.")
    if untold:
        names = _join([f"{pair.second} ({pair.difference.n_sigma:.1f} {pair.unit})" for pair in untold])
        sentences.append(f"These jets do not tell it from {names}.")
    return " ".join(sentences)


def _ahead(pair: PairedDifference, second: TableRow) -> str:
    d = pair.difference
    if pair.metric.startswith("rejection"):
        # Significance is counted in eps_b: beside it, the lopsided error of the difference of inverses would confuse.
        value = format_measurement(second.measurement(pair.metric), metric=pair.metric)
        return f"{pair.second}, {value} ({d.n_sigma:.1f} {pair.unit} of eps_b)"
    return f"{pair.second} by {d.value:.4f} ± {d.err_stat:.4f} ({d.n_sigma:.1f} {pair.unit})"


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
