"""The table of measured energies, and the sentence that says who has the best stochastic term."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hepcnn.evaluation.energy_metrics import TermDifference
from hepcnn.evaluation.tables import SIGNIFICANT

HEADER = (
    "tagger",
    "a, %",
    "b, % √GeV",
    "c, GeV",
    "chi2 / dof",
    "sigma/E, all",
    "largest non-linearity",
    "below, above 3 sigma, %",
    "pull width",
    "parameters",
)


@dataclass(frozen=True)
class EnergyRow:
    """One tagger on one class: its name, the class's record of `evaluate_energies`, and its size where known."""

    name: str
    measured: Mapping[str, Any]
    n_parameters: int | None = None
    is_baseline: bool = False

    @property
    def stochastic(self) -> Mapping[str, Any] | None:
        """The stochastic term, where there is a fit."""
        fit = self.measured["fit"]
        return None if fit is None else fit["b"]


def make_energy_cells(rows: Sequence[EnergyRow]) -> list[list[str]]:
    """Lay out the table: a header, then one line a tagger."""
    return [list(HEADER), *([row.name, *_cells(row)] for row in rows)]


def make_energy_markdown(rows: Sequence[EnergyRow], differences: Sequence[TermDifference], class_name: str) -> str:
    """The table, and what it says, in Markdown."""
    header, *lines = make_energy_cells(rows)
    text = [f"Energy of {class_name}: sigma/E = a ⊕ b/√E ⊕ c/E, corrected for non-linearity", ""]
    text += ["| " + " | ".join(header) + " |", "| --- " * len(header) + "|"]
    text += ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([*text, "", make_energy_verdict(rows, differences, class_name), ""])


def make_energy_latex(rows: Sequence[EnergyRow]) -> str:
    """The same table for a paper (booktabs)."""
    header, *lines = (
        [
            cell.replace("_", r"\_")
            .replace("%", r"\%")
            .replace("±", r"$\pm$")
            .replace("√GeV", r"$\sqrt{\mathrm{GeV}}$")
            for cell in line
        ]
        for line in make_energy_cells(rows)
    )
    body = [" & ".join(line) + r" \\" for line in lines]
    parts = [
        r"\begin{tabular}{l" + "r" * (len(header) - 1) + "}",
        r"\toprule",
        " & ".join(header) + r" \\",
        r"\midrule",
    ]
    return "\n".join([*parts, *body, r"\bottomrule", r"\end{tabular}", ""])


def make_energy_csv(rows: Sequence[EnergyRow]) -> str:
    """Plain numbers, one line a tagger."""
    names = ["tagger"]
    names += [f"{term}{suffix}" for term in ("a", "b", "c") for suffix in ("", "_err_stat", "_err_seed")]
    names += ["chi2", "n_dof", "resolution", "resolution_err_stat", "median", "median_err_stat", "n_parameters"]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        fit = row.measured["fit"] or {}
        line: dict[str, Any] = {"tagger": row.name, "n_parameters": row.n_parameters}
        for term in ("a", "b", "c"):
            found = fit.get(term, {})
            line |= {term: found.get("value")}
            line |= {f"{term}_{error}": found.get(error) for error in ("err_stat", "err_seed")}
        line |= {name: fit.get(name) for name in ("chi2", "n_dof")}
        for name in ("resolution", "median"):
            line |= {name: row.measured[name]["value"], f"{name}_err_stat": row.measured[name]["err_stat"]}
        writer.writerow(line)
    return buffer.getvalue()


def make_energy_verdict(rows: Sequence[EnergyRow], differences: Sequence[TermDifference], class_name: str) -> str:
    """Say who has the smallest stochastic term, by how much, and how the best network stands to the energy sum."""
    known = {row.name: row for row in rows if row.stochastic is not None}
    if not known:
        return f"Too few bins of energy hold enough showers of {class_name} to fit a resolution."
    best = min(known.values(), key=lambda row: float((row.stochastic or {})["value"]))
    text = f"Smallest stochastic term for {class_name}: {best.name} with {_percent(best.stochastic)} % √GeV"
    for pair in differences:
        if pair.first != best.name:
            continue
        words = "ahead" if pair.n_sigma >= SIGNIFICANT else "not significantly ahead"
        text += f"; {words} of {pair.second} by {100 * pair.value:.1f} ± {100 * pair.err_stat:.1f} "
        text += f"({pair.n_sigma:.1f} paired standard errors)"
    return text + "."


def find_goal(rows: Sequence[EnergyRow], *, reference: str = "energy_sum") -> tuple[str, str] | None:
    """The network of the smallest stochastic term and the energy sum, by name; None where one has no fit."""
    known = {row.name: float(row.stochastic["value"]) for row in rows if row.stochastic is not None}
    networks = [row.name for row in rows if not row.is_baseline and row.name in known]
    return (min(networks, key=lambda name: known[name]), reference) if networks and reference in known else None


def make_goal_sentence(rows: Sequence[EnergyRow], class_name: str, difference: TermDifference) -> str:
    """Whether the best network's stochastic term is better than the energy sum's.

    Parameters
    ----------
    rows, class_name
        Of the table.
    difference
        Of the two that `find_goal` names, the better one first.
    """
    goal = find_goal(rows)
    if goal is None:
        return ""
    by_name = {row.name: row.stochastic for row in rows}
    is_better, is_clear = difference.first == goal[0], difference.n_sigma >= SIGNIFICANT
    met = ("better than" if is_better else "worse than") if is_clear else "not told apart from"
    return (
        f"Goal: the best network's stochastic term for {class_name} is {met} the energy sum's: {goal[0]} "
        f"{_percent(by_name[goal[0]])} % √GeV, {goal[1]} {_percent(by_name[goal[1]])} % √GeV, a difference of "
        f"{100 * (difference.value if is_better else -difference.value):.1f} ± {100 * difference.err_stat:.1f} "
        f"({difference.n_sigma:.1f} paired standard errors)."
    )


def _cells(row: EnergyRow) -> list[str]:
    measured, fit = row.measured, row.measured["fit"]
    terms = ["–"] * 4
    if fit is not None:
        noise = fit["c"]
        terms = [_percent(fit["a"]), _percent(fit["b"]), _show(noise["value"], noise, "err_stat", 1, 2)]
        terms.append(f"{fit['chi2']:.1f} / {fit['n_dof']}")
    line, pulls = measured["linearity"], measured["pulls"]
    tails = [100 * one["value"] if one else float("nan") for one in (measured["tail_low"], measured["tail_high"])]
    width = None if pulls is None else pulls["width"]
    return [
        *terms,
        _percent(measured["resolution"]) + " %",
        "–"
        if line is None
        else f"{100 * line['largest']:+.1f} ± {100 * line['err_stat']:.1f} % at {line['energy']:.3g} GeV",
        f"{tails[0]:.1f}, {tails[1]:.1f}",
        "–" if width is None else f"{width['value']:.2f} ± {width['err_stat']:.2f}",
        "–" if row.n_parameters is None else f"{row.n_parameters:,}",
    ]


def _percent(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    return _show(found["value"], found, "err_stat", 100, 1)


def _show(value: float, found: Mapping[str, Any], error: str, scale: float, digits: int) -> str:
    text = f"{scale * value:.{digits}f}"
    if found.get(error) is not None:
        text += f" ± {scale * found[error]:.{digits}f}"
    if found.get("err_seed") is not None:
        text += f" ± {scale * found['err_seed']:.{digits}f} (seed)"
    return text
