"""Where the runs are recorded."""

import os
from typing import Literal

import pydantic

from hepcnn.errors import hide_password
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

    @pydantic.field_validator("uri")
    @classmethod
    def _holds_no_password(cls, uri: str | None) -> str | None:
        if uri is not None and hide_password(uri) != uri:
            raise ValueError(
                f"{hide_password(uri)}: a config is copied to the store and the report, and must hold no password: put "
                "the whole address into MLFLOW_TRACKING_URI, or the password into ~/.pgpass, PGPASSWORD, or "
                "MLFLOW_TRACKING_PASSWORD"
            )
        return uri

    @property
    def store(self) -> str:
        """The URI of the store."""
        return self.uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI

    @property
    def is_live(self) -> bool:
        """Whether runs are to be pushed while they are made."""
        return self.store.startswith(("http://", "https://")) if self.live == "auto" else bool(self.live)


def reveal_password(uri: str) -> str:
    """The address that ``MLFLOW_TRACKING_URI`` gives with its password, where it is the same; else as it is."""
    known = os.environ.get("MLFLOW_TRACKING_URI", "")
    return known if hide_password(known) == uri else uri
