"""What a finished run says of itself in its spool: parameters, numbers, inputs, a summary to read, files."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepcnn import paths
from hepcnn.config import hash_config
from hepcnn.spool.writer import SpoolWriter
from hepcnn.stages.records import RunRecord, flatten, hash_file, read_tables

if TYPE_CHECKING:
    from hepcnn.generate.jets import GenerationSummary
    from hepcnn.generate.showers.sample import ShowerSummary


def spool_record(writer: SpoolWriter, record: RunRecord, folder: Path) -> None:
    """Put the record of a finished training, tagger or baseline, into its spool."""
    params = {"tagger": record.tagger, "seed": record.seed, "parameters": record.n_parameters}
    writer.add_params(params | flatten(dict(record.parameters)))
    tags = {
        "hepcnn.tagger": record.tagger,
        "hepcnn.bundle": record.bundle_id,
        "hepcnn.record": hash_config(vars(record)),
    }
    tags |= {f"data.{Path(source['path']).name}.sha256": str(source["sha256"]) for source in record.sources}
    tags |= {f"version.{package}": version for package, version in record.versions.items()}
    writer.add_tags({name: value for name, value in tags.items() if value})
    for source in record.sources:
        writer.add_dataset(str(source["path"]), sha256=str(source["sha256"]), entries=source.get("entries"))
    writer.add_metrics(list_final_metrics(record), step=0)
    writer.add_note(describe_record(record))
    if paths.bundle(folder).exists():
        writer.add_artifact(paths.bundle(folder), "bundle")
    for path in (paths.run_record(folder), paths.metrics(folder), paths.working_points(folder)):
        if path.exists():
            writer.add_artifact(path)


def spool_card(writer: SpoolWriter, card: Mapping[str, Any], images: Path) -> None:
    """Put what a data card says of a conversion into its spool: the files as inputs, jets counted, the card itself."""
    for file in card["files"]:
        writer.add_dataset(str(file["path"]), sha256=str(file["sha256"]), entries=file["entries"])
    numbers = {name: card[name] for name in ("jets_read", "jets_written", "nan_jets", "duplicates")}
    numbers |= {"occupancy": card["occupancy"]["mean"], "pt_fraction_in_grid": card["pt_fraction_in_grid"]}
    numbers |= {f"left_out/{reason}": count for reason, count in card["cutflow"].items()}
    writer.add_metrics(numbers, step=0)
    writer.add_params({"output": str(images)} | flatten(card["settings"]))
    writer.add_artifact(paths.data_card(images))


def spool_summary(writer: SpoolWriter, summary: "GenerationSummary | ShowerSummary") -> None:
    """Put what a generation did into its spool."""
    values = flatten(asdict(summary))
    # What was asked for is no result, number or not.
    asked = {name for name in values if name.startswith("settings.") or name == "seed"}
    asked |= {name for name, value in values.items() if not isinstance(value, int | float)}
    writer.add_metrics({name: value for name, value in values.items() if name not in asked}, step=0)
    writer.add_params({name: value for name, value in values.items() if name in asked})


def spool_evaluation(writer: SpoolWriter, scores: Sequence[Path], folder: Path) -> None:
    """Put an evaluation into its spool: the scores as inputs, the tables to read. Its files go with the study's run."""
    for path in scores:
        run = path.parent
        name = f"{run.parent.name} {run.name}"
        writer.add_dataset(str(path), sha256=hash_file(path), name=f"{name} {path.name}")
    writer.add_params({"taggers": len({path.parent.parent for path in scores}), "scores": len(scores)})
    if tables := read_tables(folder):
        writer.add_note("\n\n".join(tables))


def list_final_metrics(record: RunRecord) -> dict[str, float]:
    """Numbers of a finished run; those of its first signal class also under short names, for columns of a table.

    Notes
    -----
    MLflow cuts a column's head after some 14 characters and shows all digits of a number: so ``rej_0.3`` is what
    ``test.<class>.rejection_at_0.3`` is, with five digits.
    """
    values: dict[str, float] = {"train_seconds": record.train_seconds}
    for number, (signal, measured) in enumerate(record.metrics.items()):
        numbers = {"auc": measured["auc"], "accuracy": measured["accuracy"]}
        numbers |= {f"rejection_at_{eps}": value for eps, value in measured["rejection"].items()}
        for name, found in numbers.items():
            values |= _with_error(f"test.{signal}.{name}", found, ".err_stat")
            if number == 0 and name != "accuracy":
                short = _with_error(short_name(name), found, "_err")
                values |= {column: float(f"{value:.5g}") for column, value in short.items()}
    return values | _list_energies(record)


def _list_energies(record: RunRecord) -> dict[str, float]:
    """Resolution, median response and fitted terms by class; the stochastic term of the last also as ``sigma_b``."""
    values: dict[str, float] = {}
    for class_name, measured in record.energy.items():
        numbers = {"resolution": measured["resolution"], "median": measured["median"]}
        if measured["fit"] is not None:
            numbers |= {f"resolution_{term}": measured["fit"][term] for term in ("a", "b", "c")}
        for name, found in numbers.items():
            values |= _with_error(f"test.{class_name}.energy_{name}", found, ".err_stat")
        if measured["fit"] is not None:
            short = _with_error("sigma_b", measured["fit"]["b"], "_err")
            values |= {column: float(f"{value:.5g}") for column, value in short.items()}
    return values


def short_name(metric: str) -> str:
    """What a column of ``auc`` or ``rejection_at_0.3`` is called."""
    return metric.replace("rejection_at_", "rej_")


def describe_record(record: RunRecord) -> str:
    """A run in Markdown: what it reached, of what, and on what."""
    lines = [
        f"**{record.tagger}**, seed {record.seed}: {record.n_parameters:,} parameters, {record.train_seconds:.0f} s"
    ]
    if record.metrics:
        lines += ["", "| signal | AUC | 1/eps_b at eps_s 0.3 | at 0.5 |", "| --- | --- | --- | --- |"]
    for signal, measured in record.metrics.items():
        cells = [
            _show(measured["auc"], ".4f"),
            *(_show(measured["rejection"].get(eps), ".0f") for eps in ("0.3", "0.5")),
        ]
        lines.append(f"| {signal} against {measured['background']} | {' | '.join(cells)} |")
    if record.energy:
        lines += ["", "| energy of | median response | sigma/E | b, √GeV |", "| --- | --- | --- | --- |"]
    for class_name, measured in record.energy.items():
        fit = measured["fit"] or {"b": None}
        pairs = ((measured["median"], ".3f"), (measured["resolution"], ".3f"), (fit["b"], ".3f"))
        cells = [_show(found, form) for found, form in pairs]
        lines.append(f"| {class_name} | {' | '.join(cells)} |")
    lines += ["", "Jets (train / val / test):"]
    for name, counts in record.counts.items():
        lines.append(f"- {name}: " + " / ".join(str(counts.get(split, 0)) for split in ("train", "val", "test")))
    lines += ["", "Files: " + ", ".join(f"`{Path(source['path']).name}`" for source in record.sources)]
    return "\n".join(lines) + "\n"


def _show(found: Mapping[str, Any] | None, form: str) -> str:
    if not found:
        return "–"
    sign = "> " if found.get("is_lower_limit") else ""
    error = found.get("err_stat")
    return f"{sign}{found['value']:{form}}" + (f" ± {error:{form}}" if error is not None else "")


def _with_error(name: str, found: Mapping[str, Any], suffix: str) -> dict[str, float]:
    values = {name: float(found["value"])}
    if found.get("err_stat") is not None:
        values[name + suffix] = float(found["err_stat"])
    return values
