"""The whole chain: same content whatever the workers and interruptions, jets as asked for, clear errors."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from hepcnn.errors import ConfigError, EmptySampleError, HepcnnError, MissingExtraError
from hepcnn.generate import jets as jets_module
from hepcnn.generate import veto as veto_module
from hepcnn.generate.card import read_card
from hepcnn.generate.chunk import derive_seeds
from hepcnn.generate.jets import generate_jets
from hepcnn.generate.parts import PartStore
from hepcnn.generate.pythia import get_process, make_hard_generator
from hepcnn.generate.sample import Sample
from hepcnn.generate.settings import load_settings
from hepcnn.generate.workers import WorkerPool
from tests.generate.conftest import N_TOP, SEED

pytest.importorskip("fastjet")
pytest.importorskip("pythia8mc")

SCRIPT = """
import signal
import sys
from pathlib import Path
from hepcnn.generate.jets import generate_jets
from hepcnn.generate.settings import load_settings
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
settings = load_settings(overrides={"events_per_chunk": 60})
generate_jets("top", int(sys.argv[2]), 3, Path(sys.argv[1]), settings=settings, workers=2)
"""


def read(path: Path) -> ak.Array:
    with uproot.open(path) as file:
        return file["tree"].arrays()


def parts_folder(path: Path) -> Path:
    return path.parent / f".{path.name}.parts"


def test_content_is_the_same_for_one_worker_and_two(top_file, small_chunks, tmp_path):
    path, summary = top_file
    again = generate_jets("top", N_TOP, SEED, tmp_path / "one.root", settings=small_chunks, workers=1)
    assert ak.array_equal(read(path), read(tmp_path / "one.root"), dtype_exact=True)
    assert again.to_json() == summary.to_json()
    assert [entry.name for entry in tmp_path.iterdir()] == ["one.root"]


def test_summary_is_in_the_file_and_counts_up(top_file):
    path, summary = top_file
    with uproot.open(path) as file:
        assert json.loads(str(file["hepcnn_generation"])) == json.loads(summary.to_json())
    counts = list(summary.cutflow.values())
    assert counts == sorted(counts, reverse=True)
    assert summary.n_jets == N_TOP <= counts[-1]
    assert summary.n_events == summary.n_chunks * 60


def test_jets_are_in_the_window_and_complete(top_file):
    jets = read(top_file[0])
    assert len(jets) == N_TOP
    assert ak.all((jets.jet_pt > 550) & (jets.jet_pt < 650) & (abs(jets.jet_eta) < 2))
    assert ak.all(jets.jet_nparticles == ak.num(jets.part_px))
    for name in jets.fields:
        assert np.isfinite(ak.to_numpy(ak.flatten(jets[name], axis=None))).all(), name
    assert len(np.unique(jets.event_number)) == N_TOP
    for mine, parts in (("jet_energy", jets.part_energy), ("jet_px", jets.part_px), ("jet_py", jets.part_py)):
        expected = {
            "jet_energy": jets.jet_energy,
            "jet_px": jets.jet_pt * np.cos(jets.jet_phi),
            "jet_py": jets.jet_pt * np.sin(jets.jet_phi),
        }[mine]
        assert np.abs(ak.to_numpy(ak.sum(parts, axis=1) - expected)).max() < 0.01
    pt = np.hypot(jets.part_px, jets.part_py)
    assert ak.all(pt[:, 1:] <= pt[:, :-1])
    labels = [name for name in jets.fields if name.startswith("label_")]
    assert len(labels) == 10
    assert ak.all(jets.label_Tbqq)
    assert sum(int(ak.sum(jets[name])) for name in labels) == N_TOP


def test_relative_angles_follow_jetclass(top_file):
    jets = read(top_file[0])
    eta = np.arcsinh(jets.part_pz / np.hypot(jets.part_px, jets.part_py))
    assert ak.any(jets.jet_eta < 0)
    assert ak.all(abs(jets.part_deta - (eta - jets.jet_eta) * np.sign(jets.jet_eta)) < 1e-4)
    phi = np.arctan2(jets.part_py, jets.part_px)
    assert ak.all(abs(np.exp(1j * jets.part_dphi) - np.exp(1j * (phi - jets.jet_phi))) < 1e-4)
    # An anti-kt jet may reach a little beyond its radius.
    assert ak.mean(np.hypot(jets.part_deta, jets.part_dphi) < 0.8) > 0.97


def test_masses_peak_where_they_should(top_file, small_chunks, tmp_path):
    for process, n_jets, mass, width, name in (
        ("top", 0, 173, 8, ""),
        ("w", 50, 80.4, 5, "label_Wqq"),
        ("higgs", 50, 123, 8, "label_Hbb"),
    ):
        path = tmp_path / f"{process}.root" if n_jets else top_file[0]
        if n_jets:
            generate_jets(process, n_jets, 1, path, settings=small_chunks, workers=2)
        jets = read(path)
        assert np.median(jets.jet_sdmass) == pytest.approx(mass, abs=width)
        assert not name or ak.all(jets[name])


def test_truth_is_near_the_jet(top_file):
    jets = read(top_file[0])
    dphi = np.angle(np.exp(1j * (jets.aux_genpart_phi - jets.jet_phi)))
    assert ak.all(np.hypot(jets.aux_genpart_eta - jets.jet_eta, dphi) < 0.8)
    assert set(np.unique(jets.aux_genpart_pid)) == {-6, 6}
    assert np.median(jets.aux_genpart_pt) == pytest.approx(600, abs=30)


def test_a_longer_sample_begins_with_the_shorter_and_reuses_parts(top_file, small_chunks, tmp_path, monkeypatch):
    monkeypatch.setattr(PartStore, "remove", lambda _self: None)
    path = tmp_path / "few.root"
    first = generate_jets("top", 20, SEED, path, settings=small_chunks)
    reference = read(top_file[0])
    assert ak.array_equal(read(path), reference[:20])
    chunks = sorted(parts_folder(path).glob("*/*.npz"))
    assert len(chunks) == first.n_chunks
    chunks[0].write_bytes(b"not a part")
    (parts_folder(path) / "of-other-settings").mkdir()
    second = generate_jets("top", N_TOP, SEED, path, settings=small_chunks)
    assert second.n_chunks_reused == first.n_chunks - 1
    assert ak.array_equal(read(path), reference)
    assert not (parts_folder(path) / "of-other-settings").exists()


def children_of(pid: int) -> list[int]:
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = (line.split() for line in listing.splitlines())
    return [int(child) for child, parent in pairs if int(parent) == pid]


def is_alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")


def wait_for(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_interruption_leaves_no_process_and_no_half_file_and_work_goes_on(number, top_file, small_chunks, tmp_path):
    path = tmp_path / "jets.root"
    caller = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path), "100000"], stderr=subprocess.DEVNULL)
    try:
        assert wait_for(lambda: parts_folder(path).is_dir() and any(parts_folder(path).glob("*/chunk*")), 30)
        workers = children_of(caller.pid)
        assert len(workers) == 2
        os.kill(caller.pid, number)
        code = caller.wait(10)
    finally:
        caller.kill()
    assert code == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: -2}[number]
    assert wait_for(lambda: not any(is_alive(worker) for worker in workers), 10)
    assert [entry.name for entry in tmp_path.iterdir()] == [parts_folder(path).name]
    if number == signal.SIGKILL:
        summary = generate_jets("top", N_TOP, SEED, path, settings=small_chunks, workers=2)
        assert summary.n_chunks_reused >= 1
        assert ak.array_equal(read(path), read(top_file[0]))
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_seeds_differ_between_chunks_samples_and_processes():
    seeds = {derive_seeds(p, s, c).hard for p in ("top", "qcd") for s in (1, 2) for c in range(500)}
    assert len(seeds) == 2000
    assert all(1 <= seed <= 900_000_000 for seed in seeds)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("topp", 1, 1), ConfigError, "did you mean 'top'"),
        (("top", 0, 1), ConfigError, "n_jets must be at least 1"),
        (("top", 1, -1), ConfigError, "seed must be at least 0"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, said, tmp_path, small_chunks):
    with pytest.raises(error, match=said):
        generate_jets(*arguments, tmp_path / "x.root", settings=small_chunks)
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path, small_chunks):
    with pytest.raises(HepcnnError, match="this is a folder"):
        generate_jets("top", 1, 1, tmp_path, settings=small_chunks)
    (tmp_path / "file").write_text("")
    with pytest.raises(HepcnnError, match=r"cannot write .* is no folder"):
        generate_jets("top", 1, 1, tmp_path / "file" / "x.root", settings=small_chunks)


def test_a_sample_without_jets_is_an_error_after_the_limit(tmp_path):
    hopeless = {"abs_eta_max": 0.0005, "events_per_chunk": 20, "give_up_after_events": 20}
    with pytest.raises(EmptySampleError, match="not one jet passed in 20 events"):
        generate_jets("w", 1, 1, tmp_path / "x.root", settings=load_settings(overrides=hopeless))
    assert not (tmp_path / "x.root").exists()


def test_a_missing_extra_is_named(tmp_path, small_chunks, monkeypatch):
    def missing(module, *, extra):
        raise MissingExtraError(f"this needs the package '{module}': pip install 'hepcnn[{extra}]'")

    monkeypatch.setattr(jets_module, "require", missing)
    with pytest.raises(MissingExtraError, match=r"hepcnn\[generate\]"):
        generate_jets("top", 1, 1, tmp_path / "x.root", settings=small_chunks)


def test_a_window_that_no_hard_process_fits_is_refused_at_once(tmp_path, small_chunks):
    for update in ({"pt_hat_min": 9000.0}, {"ecm_gev": 1301.0, "pt_hat_min": 660.0}):
        with pytest.raises(ConfigError, match="pt_hat_min must be below"):
            generate_jets("w", 1, 1, tmp_path / "x.root", settings=small_chunks.model_copy(update=update))
    assert not list(tmp_path.iterdir())


def test_events_that_can_never_pass_are_not_tried_for_ever(small_chunks, monkeypatch):
    monkeypatch.setattr(veto_module, "GIVE_UP_AFTER", 300)
    unreachable = {"pt_min": 5000.0, "pt_max": 6000.0, "pt_hat_min": 640.0, "pt_hat_max": 650.0}
    generator = make_hard_generator(get_process("top"), small_chunks.model_copy(update=unreachable), seed=1)
    with pytest.raises(EmptySampleError, match="none of 300 events in a row"):
        next(generator.generate(10))


def test_a_failing_worker_says_which_chunk(tmp_path, small_chunks):
    job = {"chunk": 3, "process": "nothing", "seed": 1, "path": str(tmp_path / "x.npz")}
    job |= {"settings": small_chunks.model_dump(mode="json"), "card": read_card("atlas-like").model_dump(mode="json")}
    for broken, error, said in ((job, ConfigError, "no process 'nothing'"), (job | {"card": {}}, HepcnnError, "Valid")):
        with WorkerPool(1) as pool:
            pool.submit(broken)
            with pytest.raises(error, match=f"chunk 3 of the generation failed: .*{said}"):
                pool.wait()
    assert not list(tmp_path.iterdir())


def test_a_generation_that_fails_before_its_first_part_leaves_nothing(tmp_path, small_chunks, monkeypatch):
    def fail(*_):
        raise HepcnnError("no worker")

    monkeypatch.setattr(Sample, "complete", fail)
    with pytest.raises(HepcnnError, match="no worker"):
        generate_jets("top", 1, 1, tmp_path / "x.root", settings=small_chunks)
    assert not list(tmp_path.iterdir())


def test_importing_the_generator_loads_neither_pythia_nor_fastjet():
    code = "import sys, hepcnn.generate.jets; print([m for m in ('pythia8mc', 'fastjet') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_progress_is_told(tmp_path, small_chunks):
    told = []
    settings = small_chunks.model_copy(update={"events_per_chunk": 30})
    generate_jets(
        "z", 10, 1, tmp_path / "z.root", settings=settings, progress=lambda n, wanted: told.append((n, wanted))
    )
    assert told[0] == (0, 10)
    assert told[-1] == (10, 10)
