"""The comparison table for programs: comma-separated values."""

import csv
import io
from collections.abc import Sequence

from hepcnn.errors import EmptySampleError
from hepcnn.evaluation.published import PublishedRow
from hepcnn.evaluation.tables import METRICS, PairedDifference, TableRow, clear_winner


def make_csv_table(
    rows: Sequence[TableRow], differences: Sequence[PairedDifference], published: Sequence[PublishedRow] = ()
) -> str:
    """Write the numbers as comma-separated values: a row per tagger, value and errors in columns of their own.

    Notes
    -----
    Digits are those of double precision; what is not known is empty. ``_best`` is 1 where the tagger is significantly
    ahead of all others; ``_is_lower_limit`` where the value is a limit at 95 % confidence.
    """
    if not rows:
        raise EmptySampleError("no tagger to compare, expected at least one row")
    parts = ("value", "err_stat", "err_seed", "is_lower_limit", "best")
    columns = [f"{metric}_{part}" for metric in METRICS for part in parts]
    head = ["tagger", "source", "is_baseline", "n_trainings", "n_signal", "n_background", "parameters", "train_seconds"]
    best = {metric: clear_winner(metric, len(rows), differences) for metric in METRICS}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, *columns])
    for row in rows:
        about = row.metrics
        known = [row.name, "this study", int(row.is_baseline), about.get("n_seeds", 1)]
        known += [about.get("n_signal"), about.get("n_background"), row.n_parameters, row.train_seconds]
        for metric in METRICS:
            found = row.measurement(metric)
            known += [found["value"], found.get("err_stat"), found.get("err_seed")]
            known += [int(bool(found.get("is_lower_limit"))), int(best[metric] == row.name)]
        writer.writerow(known)
    for other in published:
        known = [other.name, other.source, 0, other.n_trainings, None, None, None, None]
        for metric in METRICS:
            value, error = other.values.get(metric, (None, None))
            known += [value, None, error, 0, 0]
        writer.writerow(known)
    return text.getvalue()
