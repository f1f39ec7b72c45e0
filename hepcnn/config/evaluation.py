"""How taggers are measured."""

from typing import Literal

from hepcnn.records import StrictModel


class EvaluationConfig(StrictModel):
    """Which class is the background (by default ``qcd``, else the first), how pictures look, what is added.

    ``label`` stands beside the experiment's name that the styles ``cms`` and ``atlas`` show. ``explain`` says whether
    the report shows what the networks look at (by default where there are few test jets), ``published`` on which sample
    others' published results stand beside ours. With ``control``, each network is also trained once on two
    halves of the background, where its AUC must be 0.5.
    """

    background: str | None = None
    control: bool = False
    style: Literal["hepcnn", "cms", "atlas"] = "hepcnn"
    label: str = "Simulation Preliminary"
    explain: bool | None = None
    published: Literal["toptag"] | None = None
