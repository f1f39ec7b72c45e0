"""What showers cost: both numbers of a rate, and a file that can be converted."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import uproot
import yaml

from hepcnn.config import StudyConfig, parse_model
from hepcnn.errors import ConfigError
from hepcnn.planning import showers
from hepcnn.planning.showers import generate_many
from hepcnn.stages.plan import count_wanted
from tests.generate.showers.test_sample import DETECTOR


def test_showers_are_measured_as_a_start_and_a_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(DETECTOR))
    content = {
        "study": "showers",
        "models": {"cnn": {}},
        "samples": {"electron": {"particle": "electron", "n_showers": 70}, "pion": {"particle": "pion"},
                    "top": {"process": "top"}},
        "generate": {"showers": {"detector": str(tmp_path / "small.yaml"), "n_showers": 90}},
    }  # fmt: skip
    study = parse_model(StudyConfig, content, where="test")
    assert [count_wanted(study, name) for name in study.samples] == [70, 90, 25_000]
    taken = iter([3.0, 7.0])
    monkeypatch.setattr(showers, "Clock", lambda: SimpleNamespace(measure=lambda: nullcontext([next(taken)])))
    path, rate, size = generate_many(study, "electron", tmp_path, few=500, many=1500)
    with uproot.open(path) as file:
        assert file["showers"].num_entries == 1500
    assert (rate.start, rate.per_jet) == pytest.approx((1.0, 0.004))
    assert size == pytest.approx(path.stat().st_size / 1500, rel=0.3)
    with pytest.raises(ConfigError, match="sample 'top' is not made of showers"):
        generate_many(study, "top", tmp_path)
