"""How taggers are measured."""

from typing import Any, Literal

import pydantic

from hepcnn.records import StrictModel


class OtherSampleConfig(StrictModel):
    """Jets of the study's classes from elsewhere, to score and not to learn from: generated otherwise, or from files.

    Generated are those of the study's ``process`` with another ``preset`` or other ``settings``, as many and with a
    ``seed`` one above the study's unless said otherwise; ``files`` by class are read as that class's own files are.
    """

    preset: str | None = None
    settings: dict[str, Any] = {}
    n_jets: int | None = pydantic.Field(default=None, ge=1)
    seed: int | None = pydantic.Field(default=None, ge=0)
    files: dict[str, list[str]] = {}


class EvaluationConfig(StrictModel):
    """Which class is the background (by default ``qcd``, else the first), how pictures look, what is added.

    ``label`` stands beside the experiment's name that the styles ``cms`` and ``atlas`` show. ``explain`` says whether
    the report shows what the networks look at (by default where there are few test jets), ``published`` on which sample
    others' published results stand beside ours. With ``control``, each network is also trained once on two
    halves of the background, where its AUC must be 0.5. With ``robustness``, the first training of each scores its test
    jets again as another detector would see them, and the jets of the ``others``, samples by name.
    """

    background: str | None = None
    control: bool = False
    robustness: bool = False
    others: dict[str, OtherSampleConfig] = {}
    style: Literal["hepcnn", "cms", "atlas"] = "hepcnn"
    label: str = "Simulation Preliminary"
    explain: bool | None = None
    published: Literal["toptag"] | None = None
