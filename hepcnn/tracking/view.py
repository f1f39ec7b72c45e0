"""The view of an experiment that a physicist wants to see first: taggers sorted by AUC, numbers with their errors."""

import json
from typing import Any

KEY = "hepcnn"
TAG = f"mlflow.sharedViewState.{KEY}"
"""Where MLflow's page looks for a view that somebody shared."""
COLUMNS = (
    "metrics.`auc`",
    "metrics.`auc_err`",
    "metrics.`rej_0.3`",
    "metrics.`rej_0.3_err`",
    "metrics.`rej_0.5`",
    "metrics.`rej_0.5_err`",
    "params.`seed`",
    "attributes.`Duration`",
)
WORKFLOW = "workflowType=machine_learning"
"""Without it, the page opens on what MLflow has for language models."""
QUERY = f"{WORKFLOW}&viewStateShareKey={KEY}"


def make_view() -> str:
    """The state of the page, as its own *share* button writes it."""
    state: dict[str, Any] = {
        "orderByKey": "metrics.`auc`",
        "orderByAsc": False,
        "searchFilter": "",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": list(COLUMNS),
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runListHidden": False,
        "viewMaximized": False,
        "isComparingRuns": False,
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
    }
    return json.dumps(state)
