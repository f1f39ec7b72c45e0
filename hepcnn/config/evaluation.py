"""How taggers are measured, and where the runs are recorded."""

from hepcnn.records import StrictModel


class EvaluationConfig(StrictModel):
    """Which class is the background, by default ``qcd`` where there is one, else the first; and the control.

    With ``control``, each network is also trained once on two halves of the background, where its AUC must be 0.5.
    """

    background: str | None = None
    control: bool = False


class TrackingConfig(StrictModel):
    """Where the runs are recorded."""

    uri: str = "sqlite:///mlflow.db"
    experiment: str | None = None
