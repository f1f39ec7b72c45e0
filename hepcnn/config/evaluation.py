"""How taggers are measured, and where the runs are recorded."""

from hepcnn.records import StrictModel


class EvaluationConfig(StrictModel):
    """Which class is the background; by default ``qcd`` where there is one, else the first."""

    background: str | None = None


class TrackingConfig(StrictModel):
    """Where the runs are recorded."""

    uri: str = "sqlite:///mlflow.db"
    experiment: str | None = None
