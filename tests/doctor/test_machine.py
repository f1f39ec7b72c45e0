"""Python, versions, processors and GPUs: what is right, and what each fault is called."""

from pathlib import Path

import pytest

from hepcnn.doctor import Finding, extras, gpu, machine, versions
from hepcnn.doctor.extras import examine_extras, require_extras
from hepcnn.errors import MissingExtraError


def test_states() -> None:
    assert Finding("a", True, "d").state == "ok"
    assert Finding("a", False, "d", is_needed=False).state == "warn"
    bad = Finding("a", False, "d", mend="do this")
    assert (bad.state, bad.describe()) == ("fail", "fail a: d; do this")
    assert bad.to_dict() == {
        "state": "fail",
        "what": "a",
        "is_ok": False,
        "detail": "d",
        "is_needed": True,
        "mend": "do this",
    }


def test_an_extra_that_is_missing_fails_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.EXTRAS, "remote", ("json", "no_such_module"))
    assert {f.what: f.state for f in examine_extras()}["extra 'remote'"] == "warn"
    (found,) = (f for f in examine_extras(("remote",)) if f.state == "fail")
    assert found.describe() == "fail extra 'remote': no no_such_module; pip install 'hepcnn[remote]'"
    with pytest.raises(MissingExtraError, match="'no_such_module'"):
        require_extras("remote")


@pytest.mark.parametrize(
    ("release", "state"), [("3.10.1", "fail"), ("3.11.0", "ok"), ("3.13.9", "ok"), ("3.14.0", "fail")]
)
def test_the_release_of_python(release: str, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.platform, "python_version_tuple", lambda: tuple(release.split(".")))
    assert machine.examine_python().state == state


def test_a_containers_share_and_limit_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    before = machine.count_cores()
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert machine.count_cores() == 0.5 <= before
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.count_cores() == before
    (tmp_path / "memory.max").write_text("1500000000\n")
    (tmp_path / "memory.current").write_text("1000000000\n")
    found = machine.examine_memory()
    assert (found.state, "0.5 GB free" in found.detail) == ("warn", True)
    monkeypatch.setenv("OMP_NUM_THREADS", "100000")
    assert machine.examine_processors().state == "warn"


LOCK = """
numpy==0.0.1 \\
    --hash=sha256:abc
no-such-package==1.0 \\
    --hash=sha256:abc
colorama==0.4.6 ; sys_platform == 'nowhere' \\
    --hash=sha256:abc
pytest=={pytest} ; python_full_version >= '3.11' \\
    --hash=sha256:abc
    # via hepcnn
"""


def test_versions_that_differ_from_the_lock_are_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(LOCK.format(pytest=pytest.__version__))
    assert set(versions.read_lock(lock.read_text())) == {"numpy", "no-such-package", "pytest"}
    found = versions.examine_versions(lock)
    assert found.state == "warn"
    assert found.detail.startswith("1 of 2 differ: numpy ")
    lock.write_text(f"pytest=={pytest.__version__}+local\n")
    assert versions.examine_versions(lock).state == "ok"
    assert versions.examine_versions(tmp_path / "none").state == "ok"


@pytest.mark.parametrize(
    ("driver", "built", "state", "told"),
    [
        ((12, 4), "12.4", "ok", "runs up to 12.4"),
        ((13, 0), "12.8", "ok", "runs up to 13.0"),
        ((12, 2), "12.8", "ok", "enough, as a minor release"),
        ((11, 8), "12.1", "warn", "newer driver, or a torch for CUDA 11"),
        ((12, 4), None, "warn", "built without CUDA"),
        (None, "12.4", "warn", "--nv"),
    ],
)
def test_the_driver_and_torchs_cuda(driver: tuple[int, int] | None, built: str | None, state: str, told: str) -> None:
    found = gpu.compare_driver(driver, built)
    assert (found.state, told in found.describe()) == (state, True)


def test_a_device_that_computes_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU takes the part of the GPU, first well, then with one wrong element."""
    torch = pytest.importorskip("torch")
    assert gpu.find_wrong_result("cpu") == ""
    right = torch.Tensor.__matmul__

    def wrong(left: object, other: object) -> object:
        product = right(left, other)
        if product.dtype == torch.float32:
            product[3, 5] += 1
        return product

    monkeypatch.setattr(torch.Tensor, "__matmul__", wrong)
    assert gpu.find_wrong_result("cpu") == "1 of 65536 elements of a matrix product are wrong"
    monkeypatch.undo()
    convolve = torch.nn.functional.conv2d
    monkeypatch.setattr(
        torch.nn.functional, "conv2d", lambda x, k: convolve(x, k) * (1.01 if x.dtype == torch.float32 else 1)
    )
    assert "a convolution is off" in gpu.find_wrong_result("cpu")


def test_no_gpu_fails_only_where_the_study_wants_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(gpu, "find_driver", lambda: None)
    monkeypatch.setattr(gpu, "count_cards", lambda: 0)
    assert [f.state for f in gpu.examine_gpus()] == ["ok"]
    assert [f.state for f in gpu.examine_gpus(is_needed=True)] == ["fail"]


@pytest.mark.gpu
def test_this_gpu_computes_right() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    assert {f.state for f in gpu.examine_gpus(is_needed=True)} == {"ok"}
