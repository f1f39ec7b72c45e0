"""What a study consists of: its samples that are only scored."""

from pathlib import Path
from typing import Any

import pytest

from hepcnn import paths
from hepcnn.calorimeters.reading import FOLDER
from hepcnn.config import ImagesConfig, StudyConfig, parse_model
from hepcnn.errors import ConfigError
from hepcnn.stages.plan import check_study, conversion_settings, count_wanted, generation_settings, others_of

STUDY: dict[str, Any] = {
    "study": "small",
    "samples": {"qcd": {"process": "qcd", "n_jets": 700}, "top": {"process": "top"}},
    "generate": {"n_jets": 900, "seed": 4, "settings": {"mpi": True}},
    "models": {"cnn": {}},
}


def make_study(others: dict[str, Any], **evaluation: Any) -> StudyConfig:
    content = STUDY | {"evaluation": {"robustness": True, "others": others} | evaluation}
    return parse_model(StudyConfig, content, where="study")


def test_another_sample_is_the_study_with_other_jets() -> None:
    study = make_study(
        {"up": {"preset": "toptag-fsr-up"}, "soft": {"settings": {"pt_min": 500.0}, "n_jets": 50, "seed": 9}}
    )
    up, soft = (others_of(study)[name] for name in ("up", "soft"))
    # A preset stands as it is; without one the study's own settings are changed.
    assert (up.generate.preset, up.generate.settings) == ("toptag-fsr-up", {})
    assert soft.generate.settings == {"mpi": True, "pt_min": 500.0}
    assert (up.generate.seed, soft.generate.seed) == (5, 9)
    assert [one.n_jets or up.generate.n_jets for one in up.samples.values()] == [700, 900]
    assert [one.n_jets or soft.generate.n_jets for one in soft.samples.values()] == [50, 50]
    root = paths.study_dir(study.results, study.study)
    assert paths.study_dir(up.results, up.study) == paths.others_dir(root) / "up"
    assert up.images == study.images
    assert up.class_names == study.class_names
    assert not up.evaluation.others


def test_files_stand_for_a_process() -> None:
    mixed = others_of(make_study({"mixed": {"files": {"qcd": ["a.root"]}}}))["mixed"]
    assert (mixed.samples["qcd"].files, mixed.samples["qcd"].process) == (["a.root"], None)
    assert mixed.samples["qcd"].schema_name == "hepcnn"
    assert mixed.samples["top"].process == "top"


@pytest.mark.parametrize(
    ("others", "evaluation", "message"),
    [
        ({"x": {"preset": "toptag-fsrup"}}, {}, "did you mean 'toptag-fsr-up'"),
        ({"x": {"files": {"tpo": ["a.root"]}}}, {}, "no class 'tpo'; did you mean 'top'"),
        ({"x": {"prest": "lhc-mpi"}}, {}, "did you mean 'preset'"),
        ({"a/b": {}}, {}, "a name is letters"),
        ({"x": {}}, {"robustness": False}, "robustness, which is false"),
    ],
)
def test_mistakes_are_named(others: dict[str, Any], evaluation: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_study(make_study(others, **evaluation))


def test_a_class_that_is_read_needs_files_elsewhere_too() -> None:
    content = STUDY | {"evaluation": {"robustness": True, "others": {"x": {}}}}
    content["samples"] = {"qcd": {"files": ["q.root"], "schema": "hepcnn"}, "top": {"process": "top"}}
    with pytest.raises(ConfigError, match=r"others\.x: no files of 'qcd', which is not generated"):
        parse_model(StudyConfig, content, where="study")


def test_other_showers_are_of_the_same_detector() -> None:
    content = STUDY | {
        "samples": {"electron": {"particle": "electron", "n_showers": 70}, "pion": {"particle": "pion"}},
        "generate": {"seed": 4, "showers": {"detector": "barrel12", "n_showers": 90}},
        "evaluation": {
            "robustness": True,
            "others": {"again": {}, "few": {"n_jets": 20}, "read": {"files": {"pion": ["p.root"]}}},
        },
    }
    study = parse_model(StudyConfig, content, where="study")
    again, few, mixed = (others_of(study)[name] for name in ("again", "few", "read"))
    assert again.generate.showers == study.generate.showers
    assert again.generate.seed == 5
    assert [count_wanted(again, name) for name in again.samples] == [70, 90]
    assert [count_wanted(few, name) for name in few.samples] == [20, 20]
    assert (mixed.samples["pion"].files, mixed.samples["pion"].particle) == (["p.root"], None)
    assert mixed.samples["pion"].schema_name == "showers"
    made, changed = (generation_settings(one, "electron") for one in (study, few))
    assert made != changed
    assert made[2]["name"] == "barrel12"


def test_images_are_made_again_when_the_file_of_their_grid_changes(tmp_path: Path) -> None:
    detector = tmp_path / "mine.yaml"
    text = (FOLDER / "barrel12.yaml").read_text()
    detector.write_text(text)
    study = make_study({}).model_copy(
        update={"images": ImagesConfig.model_validate({"grid": {"kind": "calorimeter", "detector": str(detector)}})}
    )
    before = conversion_settings(study, "qcd")
    detector.write_text(f"# a remark changes nothing\n{text}")
    assert conversion_settings(study, "qcd") == before
    detector.write_text(text.replace("pitch: [5.0, 120.0]", "pitch: [5.0, 110.0]"))
    assert conversion_settings(study, "qcd") != before
