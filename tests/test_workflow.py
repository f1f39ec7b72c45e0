"""The workflow: which rules run after which change (asked, not run), and once for real, from Pythia to the report."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml

import hepcnn
from hepcnn.io.reader import iterate_jets
from hepcnn.io.scores import read_scores
from tests.snakes import call_snakemake

REPOSITORY = Path(__file__).parent.parent
STUDY: dict[str, Any] = {
    "study": "small",
    "samples": {"qcd": {"process": "qcd"}, "top": {"process": "top"}},
    # Chunks of 2000 events, as by default, would give several times the jets that are asked for.
    "generate": {"n_jets": 150, "seed": 3, "settings": {"events_per_chunk": 250}},
    "images": {
        "grid": {"n_eta": 24, "n_phi": 24, "half_width": 0.8},
        "channels": ["pt", "ecal"],
        "jet_features": ["pt", "mass", "n_constituents", "tau1", "tau2", "tau3"],
    },
    "split": {"train": 0.5, "val": 0.2, "test": 0.3},
    "models": {"cnn": {}, "sparse": {}},
    "training": {"epochs": 1, "batch_size": 32},
    "evaluation": {"explain": False},
}
NATIVE = {"grid": {"kind": "native"}, "channels": ["energy"], "preprocess": []}

ARGUMENTS = ["-s", str(REPOSITORY / "Snakefile"), "--cores", "2", "--configfile", "study.yaml"]
COMMAND = [sys.executable, "-m", "snakemake", *ARGUMENTS]


def plan(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask what would run, which starts no job."""
    return call_snakemake(folder, *ARGUMENTS, *arguments, "--dry-run")


def write_config(folder: Path, **changes: Any) -> None:
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY | changes))


def planned(folder: Path) -> dict[str, int]:
    """Rules that would run, and how often."""
    found = plan(folder)
    assert found.returncode == 0, found.stderr
    text = found.stdout + found.stderr
    if "Nothing to be done" in text:
        return {}
    table = text[text.index("Job stats:") : text.index("total")]
    counts = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
    return {name: count for name, count in counts.items() if name != "all"}


ALL_RULES = {"generate": 2, "convert": 2, "train": 2, "baseline": 2, "evaluate": 1, "track": 1, "report": 1}


def test_ensembles_are_made_of_all_seeds(tmp_path: Path) -> None:
    write_config(tmp_path, seeds=[1, 2], ensembles=True)
    assert planned(tmp_path) == ALL_RULES | {"train": 4, "ensemble": 2}


def test_a_fresh_study_runs_everything(tmp_path: Path) -> None:
    write_config(tmp_path)
    assert planned(tmp_path) == ALL_RULES


def test_seeds_multiply_networks_but_not_baselines(tmp_path: Path) -> None:
    write_config(tmp_path, seeds=[1, 2, 3], baselines=["substructure_tree"])
    assert planned(tmp_path) == ALL_RULES | {"train": 6, "baseline": 1}


def test_other_samples_are_made_and_scored_by_each_network(tmp_path: Path) -> None:
    (tmp_path / "theirs.root").touch()
    others = {"fsr_up": {"preset": "toptag-fsr-up"}, "mixed": {"files": {"qcd": ["theirs.root"]}}}
    write_config(tmp_path, seeds=[1, 2], evaluation={"robustness": True, "others": others})
    # Of the mixed sample, the top jets are generated.
    made = {"generate_other": 3, "convert_other": 4, "robustness": 2}
    assert planned(tmp_path) == ALL_RULES | {"train": 4} | made


def test_a_control_is_one_more_training_of_each_network(tmp_path: Path) -> None:
    write_config(tmp_path, seeds=[1, 2], evaluation={"control": True})
    assert planned(tmp_path) == ALL_RULES | {"train": 4, "control": 2}


def test_the_users_files_are_not_generated(tmp_path: Path) -> None:
    for name in ("a.root", "b.root"):
        (tmp_path / name).touch()
    samples = {name: {"files": [f"{name}.root"], "schema": "hepcnn"} for name in ("a", "b")}
    write_config(tmp_path, samples=samples)
    assert "generate" not in planned(tmp_path)


def test_showers_are_generated_by_their_own_verb(tmp_path: Path) -> None:
    samples = {"electron": {"particle": "electron"}, "pion": {"particle": "pion", "n_showers": 50}}
    write_config(tmp_path, samples=samples, images=NATIVE)
    found = plan(tmp_path, "--printshellcmds")
    assert found.returncode == 0, found.stderr
    text = found.stdout + found.stderr
    assert re.search(r"hepcnn generate showers --config \S+ --sample pion --workers 2 -o \S+pion\.root", text)
    assert "generate jets" not in text


@pytest.mark.parametrize(
    ("samples", "showers", "message"),
    [
        ({"a": {"particle": "electrn"}, "b": {"particle": "pion"}}, {}, "no particle 'electrn'"),
        ({"a": {"particle": "electron"}, "b": {"particle": "pion"}}, {"detector": "nowhere"}, "no detector 'nowhere'"),
    ],
)
def test_unknown_particles_and_detectors_stop_before_anything_runs(
    tmp_path: Path, samples: dict[str, Any], showers: dict[str, Any], message: str
) -> None:
    write_config(tmp_path, samples=samples, generate={"showers": showers}, images=NATIVE)
    found = plan(tmp_path)
    assert found.returncode != 0
    assert message in found.stdout + found.stderr


def test_a_study_that_cannot_work_ends_before_its_first_job(tmp_path: Path) -> None:
    for name in ("a.root", "b.root"):
        (tmp_path / name).touch()
    samples = {name: {"files": [f"{name}.root"], "schema": "hepcnn"} for name in ("a", "b")}
    write_config(tmp_path, samples=samples)
    found = call_snakemake(tmp_path, *ARGUMENTS)
    assert found.returncode == 1
    text = found.stdout + found.stderr
    assert "this study cannot be run here, and nothing was started:" in text
    assert "fail sample 'a': 1 of 1 files cannot be read: a.root: this file is empty" in text
    assert not (tmp_path / "results/small/logs").exists()


def test_a_misspelt_key_stops_before_anything_runs(tmp_path: Path) -> None:
    write_config(tmp_path, trainig={})
    found = plan(tmp_path)
    assert found.returncode == 1
    assert "trainig: unknown key; did you mean 'training'" in found.stdout + found.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": STUDY["images"] | {"channels": ["ptt"]}}, "no channel 'ptt'; did you mean 'pt'"),
        ({"generate": {"preset": "toptag-refrence"}}, "did you mean 'toptag-reference'"),
    ],
)
def test_an_unknown_name_stops_before_anything_runs(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_config(tmp_path, **changes)
    found = plan(tmp_path)
    assert found.returncode == 1
    assert message in found.stdout + found.stderr
    assert not (tmp_path / "results").exists()


def test_the_demo_is_what_runs_by_default(tmp_path: Path) -> None:
    found = call_snakemake(REPOSITORY, "--cores", "1", "--dry-run", "--directory", str(tmp_path))
    assert found.returncode == 0, found.stderr
    assert "demo/report.html" in found.stdout + found.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole study was run, once interrupted on the way."""
    folder = tmp_path_factory.mktemp("study")
    write_config(folder)
    interrupt_generation(folder)
    found = subprocess.run(COMMAND, cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return folder


def interrupt_generation(folder: Path) -> None:
    """Start the workflow as a terminal would, and press Ctrl-C once the generator is at work."""
    import signal

    process = subprocess.Popen(
        COMMAND,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # Where pytest itself runs in the background, SIGINT is inherited as ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 300
    while not list(folder.glob("results/small/generated/.*parts")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=300) == 1
    assert not list(folder.glob("results/small/generated/*.root"))


@pytest.mark.slow
class TestFinishedStudy:
    """What a whole study leaves."""

    def test_the_outputs_are_where_the_contract_says(self, finished: Path) -> None:
        root = finished / "results" / "small"
        for name in ("images/qcd.h5", "images/top.h5", "report.html", "summary/metrics.json", "summary/table.md"):
            assert (root / name).exists(), name
        for name in ("summary/table.tex", "summary/rejection.png", "summary/rejection.pdf", "summary/average_pt.png"):
            assert (root / name).exists(), name
        for tagger in ("cnn", "sparse", "pixel_logistic", "substructure_tree"):
            assert (root / tagger / "seed1" / "scores.h5").exists()
            assert "top" in json.loads((root / tagger / "seed1" / "metrics.json").read_text())
        hidden = [path for path in root.rglob(".*") if not path.name.startswith(".snakemake")]
        assert hidden == [], "temporary files were left"

    def test_a_second_call_does_nothing(self, finished: Path) -> None:
        write_config(finished)
        assert planned(finished) == {}

    @pytest.mark.parametrize(
        ("changes", "rules"),
        [
            ({"generate": {**STUDY["generate"], "n_jets": 151}}, ALL_RULES),
            (
                {"images": {**STUDY["images"], "preprocess": ["centre"]}},
                {k: n for k, n in ALL_RULES.items() if k != "generate"},
            ),
            ({"training": {"epochs": 2, "batch_size": 32}}, {"train": 2, "evaluate": 1, "track": 1, "report": 1}),
            (
                {"models": {"cnn": {}, "sparse": {"training": {"epochs": 2}}}},
                {"train": 1, "evaluate": 1, "track": 1, "report": 1},
            ),
            ({"tracking": {"experiment": "other"}}, {"track": 1, "report": 1}),
        ],
        ids=["generate", "images", "training", "one model", "tracking"],
    )
    def test_a_changed_value_reruns_what_depends_on_it(
        self, finished: Path, changes: dict[str, Any], rules: dict[str, int]
    ) -> None:
        write_config(finished, **changes)
        assert planned(finished) == rules
        write_config(finished)

    def test_a_touched_config_reruns_nothing(self, finished: Path) -> None:
        write_config(finished)
        (finished / "study.yaml").write_text((finished / "study.yaml").read_text() + "# a remark\n")
        assert planned(finished) == {}

    def test_the_shipped_tagger_scores_as_the_workflow_did(self, finished: Path) -> None:
        root = finished / "results" / "small"
        for model in ("cnn", "sparse"):
            tagger = hepcnn.Tagger.load(root / model / "seed1" / "bundle")
            expected = read_scores(root / model / "seed1" / "scores.h5")
            for number, name in enumerate(tagger.class_names):
                batches = iterate_jets(root / "generated" / f"{name}.root", "hepcnn")
                scores = np.concatenate([tagger(batch.constituents) for batch in batches])
                mine = expected.label == number
                assert scores[expected.jets["source_entry"][mine]] == pytest.approx(expected.score[mine], abs=1e-6)

    def test_the_generated_file_is_in_jetclass_layout(self, finished: Path) -> None:
        tree = uproot.open(finished / "results/small/generated/top.root")["tree"]
        for name in ("part_px", "part_energy", "part_deta", "part_dphi", "jet_pt", "label_Tbqq", "label_QCD"):
            assert name in tree
        assert tree.num_entries == 150
        assert ak.all(tree["label_Tbqq"].array() == 1)

    def test_the_report_is_one_page_that_needs_nothing_else(self, finished: Path) -> None:
        page = (finished / "results/small/report.html").read_text()
        assert page.count("data:image/png;base64,") >= 8
        assert "<script" not in page
        assert not re.search(r"""(src|href)=["']https?://(?!127\.0\.0\.1)""", page)
        for text in ("substructure_tree", "cnn", "toptag-reference", "hepcnn tag --bundle"):
            assert text in page


PROFILES = REPOSITORY / "workflow" / "profiles"


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_training_asks_the_batch_system_for_a_gpu_if_the_study_does(tmp_path: Path, device: str) -> None:
    write_config(tmp_path, training=STUDY["training"] | {"device": device}, seeds=[1, 2])
    found = plan(tmp_path, "--workflow-profile", str(PROFILES / "slurm"))
    text = found.stdout + found.stderr
    assert found.returncode == 0, text
    jobs = {match[1]: match[0] for match in re.finditer(r"rule (\w+):\n(?:    .*\n)+", text)}
    assert ("gpu=1" in jobs["train"]) is (device == "cuda")
    assert "gpu=1" not in jobs["baseline"]
    # What the profile says, of two threads (there are two cores here) and the first attempt.
    assert "mem_mb=2400," in jobs["generate"]
    assert "runtime=480" in jobs["train"]


def test_a_list_on_the_command_line_replaces_the_profiles_and_that_is_said(tmp_path: Path) -> None:
    write_config(tmp_path)
    profile = ["--workflow-profile", str(PROFILES / "slurm")]
    found = plan(tmp_path, *profile, "--set-resources", "train:runtime=77")
    jobs = {match[1]: match[0] for match in re.finditer(r"rule (\w+):\n(?:    .*\n)+", found.stdout + found.stderr)}
    assert "runtime=60" in jobs["generate"]  # not the 240 of the profile's own list
    assert "runtime=77" in jobs["train"]
    # What stands among the defaults outlives it: a training is told before its time is over.
    assert "slurm_extra=--signal=TERM@120" in jobs["train"]
    said = "on the command line replaced all that the profile says there"
    assert f"--set-resources {said}" in " ".join(found.stderr.split())
    assert said not in " ".join(plan(tmp_path, *profile).stderr.split())
    assert said not in " ".join(plan(tmp_path, "--set-threads", "train=1").stderr.split())


def test_profiles_say_the_same_of_threads_and_retries() -> None:
    slurm, htcondor = (yaml.safe_load((PROFILES / name / "config.yaml").read_text()) for name in ("slurm", "htcondor"))
    for key in ("set-threads", "retries", "groups", "group-components", "rerun-incomplete"):
        assert slurm[key] == htcondor[key]
    for rule, wanted in slurm["set-resources"].items():
        assert htcondor["set-resources"][rule]["htcondor_request_mem_mb"] == wanted["mem_mb"]
