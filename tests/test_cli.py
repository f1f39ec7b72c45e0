"""The verbs as a user calls them: exit status, messages, JSON, and no traceback ever."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
import uproot
import yaml

from hepcnn.cli.main import main
from hepcnn.config import StudyConfig, write_study
from hepcnn.spool.reader import read_spool
from tests.toy import write_toy_jets

HEPCNN = [sys.executable, "-m", "hepcnn"]


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    found = subprocess.run([*HEPCNN, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False)
    assert "Traceback" not in found.stderr
    return found


Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """As `run`, but in this process: for a verb that another test starts afresh, without seconds of imports.

    What libraries write to the file of stderr counts too, and an error that `main` lets through ends the test.
    """

    def call_main(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["hepcnn", *map(str, arguments)])
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        kept = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
        capfd.readouterr()
        try:
            with pytest.raises(SystemExit) as ending:
                main()
        finally:
            for kind, handler in kept.items():
                signal.signal(kind, handler)
        return subprocess.CompletedProcess(sys.argv, ending.value.code or 0, *capfd.readouterr())

    return call_main


def test_help_and_version() -> None:
    found = run("--help")
    assert found.returncode == 0
    verbs = (
        "generate",
        "inspect",
        "convert",
        "train",
        "evaluate",
        "tag",
        "export",
        "track",
        "models",
        "schemas",
        "doctor",
        "plan",
    )
    assert all(verb in found.stdout for verb in verbs)
    assert run("--version").stdout.strip()


@pytest.mark.parametrize(
    "arguments", [["cnvert"], ["convert"], ["inspect"], ["train", "--epochs", "3"], ["convert", "a.root", "-o", "x"]]
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    assert run(*arguments).returncode == 2


SHOWERS = ("generate", "showers", "--particle", "electron", "-n", 5)


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--energy", "a:1"), 2, "expected LOW:HIGH in GeV"),
        (("--energy", "10:1"), 1, "energy: expected two rising energies from 0.5 to 10000 GeV, found 10 and 1"),
        (("--detector", "samplng45"), 1, "no detector 'samplng45'; did you mean 'sampling45'"),
        (("--particle", "electrn"), 1, "no particle 'electrn'"),
        (("--max-angle", "3"), 1, "max_angle: "),
        (("-n", "0"), 2, "--n-showers"),
        (("--config", "study.yaml"), 2, "give no other option"),
    ],
)
def test_wrong_showers_are_refused(
    call: Call, tmp_path: Path, options: tuple[str, ...], status: int, message: str
) -> None:
    found = call(*SHOWERS, "-o", tmp_path / "x.root", *options)
    assert found.returncode == status
    assert message in found.stderr
    assert not list(tmp_path.iterdir())


def test_a_sample_is_made_by_its_own_verb(call: Call, tmp_path: Path) -> None:
    config = tmp_path / "study.yaml"
    samples = {"electron": {"particle": "electron"}, "top": {"process": "top"}}
    config.write_text(yaml.safe_dump({"study": "mixed", "samples": samples, "models": {"cnn": {}}}))
    for verb, sample, other in (("jets", "electron", "showers"), ("showers", "top", "jets")):
        found = call("generate", verb, "--config", config, "--sample", sample, "-o", tmp_path / "x.root")
        assert found.returncode == 1
        assert f"sample '{sample}' is made by 'hepcnn generate {other}'" in found.stderr


BAD = ["bad_delphes.root", "nano_dy_empty.root", "edm4hep.root", "bad_lfs_pointer.root", "bad_lfs_pointer.h5"]


@pytest.mark.parametrize("name", [*BAD, "jets_features_no_constituents.h5", "no_such_file.root"])
def test_bad_files_exit_1_with_one_message_that_names_them(
    call: Call, shared_data: Path, tmp_path: Path, name: str
) -> None:
    path, output = shared_data / "bad" / name, tmp_path / "images.h5"
    found = call("convert", path, "--schema", "pfnano", "--label", "qcd", "-o", output)
    assert found.returncode == 1
    assert found.stderr.startswith("hepcnn: ")
    assert name in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_inspect_and_schemas_print_json(call: Call, shared_data: Path) -> None:
    found = json.loads(run("inspect", shared_data / "nano_root" / "pfnano.root", "--json").stdout)
    assert found["schema"] == "pfnano"
    assert found["fits"][0]["n_jets"] == 24
    assert {"pfnano", "delphes", "hepcnn", "jetclass"} <= set(json.loads(call("schemas", "--json").stdout))
    text = call("inspect", shared_data / "nano_root" / "nano_tt_v12.root").stdout
    assert "schema: none fits" in text
    assert "nearest: nanoaod" in text


def test_convert_by_hand(call: Call, shared_data: Path, tmp_path: Path) -> None:
    path, output = shared_data / "nano_root" / "pfnano.root", tmp_path / "images.h5"
    options = ["--schema", "pfnano", "--label", "qcd", "--grid", "20x24", "--half-width", "1.0"]
    options += ["--preprocess", "centre", "--channels", "pt,track_pt"]
    found = run("convert", path, *options, "-o", output, "--json")
    assert json.loads(found.stdout)["jets_written"] == 24
    assert json.loads(found.stdout) == json.loads((tmp_path / "images.card.json").read_text())
    wrong = call("convert", path, *options, "--channels", "pT", "-o", tmp_path / "x.h5")
    assert (wrong.returncode, wrong.stderr) == (1, "hepcnn: channels: no channel 'pT'; did you mean 'pt'?\n")


def test_convert_says_what_it_left_out_and_set_aside(call: Call, tmp_path: Path) -> None:
    good, bad = write_toy_jets(tmp_path / "good.root", n_jets=50, n_prongs=1, seed=1), tmp_path / "bad.root"
    bad.write_bytes(good.read_bytes()[:-999])
    options = ["--schema", "hepcnn", "--label", "qcd", "--select", "abs_eta=:0.5", "--select", "pt=:1e4", "-j", "2"]
    found = call("convert", good, bad, *options, "-o", tmp_path / "i.h5")
    assert (found.returncode, "bad.root" in found.stderr) == (1, True)
    found = call("convert", good, bad, *options, "-o", tmp_path / "i.h5", "--skip-bad")
    assert found.returncode == 0
    assert re.search(r"i\.h5: (\d+) of 50 jets", found.stdout)
    assert re.search(r"left out: \d+ abs_eta not below 0\.5\n", found.stdout)
    assert re.search(r"set aside: .*bad\.root: .*cut short", found.stdout)
    for wrong, message in (
        (["--select", "ptt=1:2"], "no variable 'ptt'; did you mean 'pt'"),
        (["--unclaimed", "keep"], "unclaimed"),
        (["--workers", "0"], "workers must be at least 1"),
    ):
        found = call("convert", good, *options, *wrong, "-o", tmp_path / "x.h5")
        assert (found.returncode, message in found.stderr) == (1, True)


def test_a_misspelt_key_is_named(call: Call, tmp_path: Path, toy_study: StudyConfig) -> None:
    content = toy_study.model_dump(mode="json", by_alias=True, exclude_none=True) | {"traning": {}}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    found = call("train", "--config", path, "--model", "cnn", "-o", tmp_path / "run")
    assert (found.returncode, found.stderr) == (
        1,
        f"hepcnn: {path}: traning: unknown key; did you mean 'training' or 'tracking'?\n",
    )


def test_an_unknown_model_or_sample_is_named(call: Call, tmp_path: Path, toy_study: StudyConfig) -> None:
    path = write_study(toy_study, tmp_path / "study.yaml")
    found = call("train", "--config", path, "--model", "cn", "-o", tmp_path / "run")
    assert (found.returncode, found.stderr) == (1, "hepcnn: study 'toy' has no model 'cn'; did you mean 'cnn'?\n")
    found = call("convert", "--config", path, "--sample", "tpo", "-o", tmp_path / "x.h5")
    assert (found.returncode, found.stderr) == (1, "hepcnn: study 'toy' has no sample 'tpo'; did you mean 'top'?\n")


def test_tag_finds_the_schema_itself_and_warns(toy_run: Path, shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "nano_root" / "pfnano.root"
    found = run("tag", path, "--bundle", toy_run / "bundle", "-o", tmp_path / "friend.root")
    assert found.returncode == 0
    assert "24 jets of 10 entries scored as pfnano" in found.stdout
    assert "pT outside" in found.stderr
    assert "'ecal'" in found.stderr


@pytest.mark.usefixtures("sketched")
def test_evaluate_by_hand(call: Call, toy_run: Path, tmp_path: Path) -> None:
    found = call("evaluate", toy_run / "scores.h5", "-o", tmp_path / "eval", "--json")
    assert found.returncode == 0
    measured = json.loads(found.stdout)
    assert measured == json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert measured["top"]["auc"]["value"] == json.loads((toy_run / "metrics.json").read_text())["top"]["auc"]["value"]
    names = {path.name for path in (tmp_path / "eval").iterdir()}
    assert {"working_points.json", "table.md", "table.tex", "rejection.png", "rejection.pdf"} <= names


def test_export_and_doctor(toy_run: Path, tmp_path: Path) -> None:
    assert run("export", "--bundle", toy_run / "bundle", "-o", tmp_path / "m.onnx").returncode == 0
    assert (tmp_path / "m.onnx").exists()
    found = json.loads(run("doctor", "--json").stdout)
    assert {"Python", "processors", "disk", "GPU"} <= {finding["what"] for finding in found["findings"]}


def test_models_lists_sizes() -> None:
    found = json.loads(run("models", "cnn", "--json").stdout)
    assert found["cnn"]["parameters"] > 1000


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_training_says_so_and_goes_on(toy_study: StudyConfig, tmp_path: Path, kind: signal.Signals) -> None:
    longer = toy_study.model_copy(update={"training": toy_study.training.model_copy(update={"epochs": 200})})
    config = write_study(longer, tmp_path / "study.yaml")
    output = tmp_path / "run"
    command = [*HEPCNN, "train", "--config", str(config), "--model", "cnn", "-o", str(output)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where pytest itself runs in the background, SIGINT is inherited as ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        deadline = time.monotonic() + 120
        while not (output / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(process.pid, kind)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == (75 if kind == signal.SIGTERM else 1)
    assert "the same command goes on from there" in stderr
    assert "Traceback" not in stderr
    kept = {"checkpoint.safetensors", "checkpoint.previous.safetensors", "track.jsonl"}
    assert {path.name for path in output.iterdir()} | kept == kept
    assert read_spool(output / "track.jsonl").status == "KILLED"


def test_a_file_that_exists_half_written_is_replaced(call: Call, tmp_path: Path) -> None:
    path, output = write_toy_jets(tmp_path / "a.root", n_jets=5, n_prongs=1, seed=1), tmp_path / "images.h5"
    output.write_bytes(b"\x89HDF half")
    assert call("convert", path, "--schema", "hepcnn", "--label", "qcd", "-o", output).returncode == 0
    assert call("inspect", output).returncode == 0


def test_a_study_by_hand_in_one_images_file(call: Call, toy_study: StudyConfig, tmp_path: Path) -> None:
    elsewhere = toy_study.model_copy(update={"results": str(tmp_path / "nothing")})
    config, images, output = write_study(elsewhere, tmp_path / "s.yaml"), tmp_path / "all.h5", tmp_path / "run"
    assert call("convert", "--config", config, "-o", images).returncode == 0
    without = call("baseline", "--config", config, "--name", "substructure_tree", "-o", output)
    assert (without.returncode, "images" in without.stderr) == (1, True)
    found = call("baseline", "--config", config, "--name", "substructure_tree", "--images", images, "-o", output)
    assert found.returncode == 0
    assert (output / "scores.h5").exists()


def test_convert_clusters_as_it_is_told(call: Call, shared_data: Path, tmp_path: Path) -> None:
    """The number of jets is that of a plain loop over the events' constituents."""
    specimen = shared_data / "delphes_root" / "delphes_towers_10ev.root"
    output = tmp_path / "images.h5"
    call("convert", specimen, "--schema", "delphes", "--label", "a", "--cluster", "antikt:0.7:40:2", "-o", output)
    fastjet = pytest.importorskip("fastjet")
    with uproot.open(specimen) as file:
        tree = file["Delphes"]
        names = {"EFlowTrack": "PT", "EFlowPhoton": "ET", "EFlowNeutralHadron": "ET"}
        columns = {
            name: [tree[f"{name}.{field}"].array() for field in (pt, "Eta", "Phi")] for name, pt in names.items()
        }
    expected = []
    for event in range(10):
        particles = []
        for pt, eta, phi in columns.values():
            for values in zip(pt[event], eta[event], phi[event], strict=True):
                particle = fastjet.PseudoJet()
                particle.reset_PtYPhiM(*map(float, values), 0.0)
                particles.append(particle)
        clustered = fastjet.ClusterSequence(particles, fastjet.JetDefinition(fastjet.antikt_algorithm, 0.7))
        expected += [jet.pt() for jet in clustered.inclusive_jets(40.0) if abs(jet.eta()) < 2]
    with h5py.File(output) as file:
        assert sorted(file["jets/pt"][:]) == pytest.approx(sorted(expected), rel=2e-3)
    failed = call("convert", specimen, "--schema", "delphes", "--label", "a", "--cluster", "antikt:1", "-o", output)
    assert failed.returncode == 2
    assert "expected algorithm:radius:pT" in " ".join(failed.stderr.replace("│", " ").split())
