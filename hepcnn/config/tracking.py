"""Where the runs are recorded."""

import os
from typing import Literal

from hepcnn.records import StrictModel

DEFAULT_URI = "sqlite:///mlflow.db"


class TrackingConfig(StrictModel):
    """Where the runs are recorded, and when.

    ``uri`` is an MLflow store; by default what ``MLFLOW_TRACKING_URI`` says, else a SQLite file. ``live`` brings runs
    there while they are made: ``auto`` where it is a server. ``artifacts`` is where a new experiment keeps files, and
    ``champion`` the metric of the bundle that the registry calls so.
    """

    uri: str | None = None
    experiment: str | None = None
    artifacts: str | None = None
    live: Literal["auto"] | bool = "auto"
    system_metrics: bool = True
    champion: Literal["auc", "rejection_at_0.3", "rejection_at_0.5"] = "auc"

    @property
    def store(self) -> str:
        """The URI of the store."""
        return self.uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI

    @property
    def is_live(self) -> bool:
        """Whether runs are to be pushed while they are made."""
        return self.store.startswith(("http://", "https://")) if self.live == "auto" else bool(self.live)
