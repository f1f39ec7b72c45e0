"""What a control found: the AUC of a network between two halves of one class, which must be 0.5 within errors."""

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hepcnn.errors import InputError, did_you_mean
from hepcnn.evaluation.summary import evaluate_scores
from hepcnn.io.scores import read_scores

CONTROL_SIGMA = 3.0
"""Errors from 0.5 at which a control says that something is wrong."""


def read_controls(files: Sequence[str | os.PathLike[str]], taggers: Collection[str]) -> dict[str, dict[str, Any]]:
    """By tagger, the AUC of its training on two halves of one class, and how many errors it is from 0.5.

    Raises
    ------
    InputError
        For a control of a tagger that is not there, or one with more than two classes.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in files:
        scores = read_scores(path)
        if scores.model not in taggers:
            raise InputError(f"{path}: control of tagger '{scores.model}'{did_you_mean(scores.model, taggers)}")
        if len(scores.class_names) != 2:
            raise InputError(f"{path}: a control has two classes, these scores have {', '.join(scores.class_names)}")
        (measured,) = evaluate_scores([scores], background=scores.class_names[0], n_bootstrap=0).values()
        area, error = measured["auc"]["value"], measured["auc"]["err_stat"]
        about = {"class_names": list(scores.class_names), "n_sigma": (area - 0.5) / error}
        found[scores.model] = {"auc": measured["auc"]} | about
    return found


def describe_controls(control: Mapping[str, Mapping[str, Any]]) -> str:
    """What stands below the table: nothing where there is no control."""
    lines = [
        f"Control: {name} on two halves of one class ({' and '.join(found['class_names'])}) has AUC "
        f"{found['auc']['value']:.4f} ± {found['auc']['err_stat']:.4f} (stat), {abs(found['n_sigma']):.1f} errors from "
        f"0.5{'' if abs(found['n_sigma']) < CONTROL_SIGMA else ': IT SEES WHAT IT SHOULD NOT'}.\n"
        for name, found in control.items()
    ]
    return "".join(f"\n{line}" for line in lines)
