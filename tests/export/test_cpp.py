"""The C++ program of the documentation, built and run where a compiler, headers and the library are.

Headers come with no wheel of ONNX Runtime. ``ONNXRUNTIME_INCLUDE`` names their folder; else the system's are taken. The
library is the one in Python's wheel.
"""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from hepcnn.export.constituents import make_constituents_graph
from hepcnn.export.made_up import join_jets, make_awkward_jets, make_up_jets
from tests.export.by_hand import feed_of, make_linear_graph, make_recipe, run_graph

SOURCE = Path(__file__).parents[2] / "examples" / "cpp" / "score_jets.cpp"
HEADER = "onnxruntime_cxx_api.h"


def find_headers() -> Path:
    named = [os.environ["ONNXRUNTIME_INCLUDE"]] if os.environ.get("ONNXRUNTIME_INCLUDE") else []
    places = [Path(p) for p in [*named, "/usr/include/onnxruntime", "/usr/local/include/onnxruntime"]]
    places += [place / "core" / "session" for place in places]
    for place in places:
        if (place / HEADER).exists():
            return place
    pytest.skip(f"no {HEADER}: ONNXRUNTIME_INCLUDE names no folder that holds it, and the system has none")


def find_library() -> Path:
    found = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    if not found:
        pytest.skip("this wheel of onnxruntime has no libonnxruntime.so of its own")
    return found[0]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    headers, folder = find_headers(), tmp_path_factory.mktemp("cpp")
    # Under the names that linker and loader look for, which the wheel leaves out.
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(find_library())
    built = folder / "score_jets"
    rest = [f"-L{folder}", "-lonnxruntime", f"-Wl,-rpath,{folder}", "-o", str(built)]
    subprocess.run([compiler, "-std=c++17", "-Wall", "-Werror", f"-isystem{headers}", str(SOURCE), *rest], check=True)
    return built


def test_the_program_is_short() -> None:
    assert len(SOURCE.read_text(encoding="utf-8").splitlines()) <= 60


def test_cpp_scores_as_python_does(program: Path, tmp_path: Path) -> None:
    recipe = make_recipe()
    model = make_constituents_graph(make_linear_graph(recipe), recipe, metadata={})
    onnx.save(model, tmp_path / "model.onnx")
    feed, _ = feed_of(recipe, join_jets([make_up_jets(recipe, 6, seed=1), make_awkward_jets(recipe, seed=2)]))
    rows = np.concatenate([feed["mask"][:, :, np.newaxis], feed["constituents"]], axis=2)
    n_jets, length, width = rows.shape
    numbers = "\n".join(" ".join(f"{value:.9g}" for value in row) for row in rows.reshape(-1, width))
    text = f"{n_jets} {length} {width - 1}\n{numbers}\n"
    run = subprocess.run([program, tmp_path / "model.onnx"], input=text, text=True, capture_output=True, check=True)
    found = np.array([[float(word) for word in line.split()] for line in run.stdout.splitlines()])
    (expected,) = run_graph(model, feed, ["score"])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert '"pt", "eta", "phi"' in run.stderr


@pytest.mark.parametrize(("text", "message"), [("", "expected: N P F"), ("1 2 7\n1 2", "fewer numbers")])
def test_cpp_says_what_is_wrong(program: Path, tmp_path: Path, text: str, message: str) -> None:
    recipe = make_recipe()
    onnx.save(make_constituents_graph(make_linear_graph(recipe), recipe, metadata={}), tmp_path / "model.onnx")
    run = subprocess.run([program, tmp_path / "model.onnx"], input=text, text=True, capture_output=True, check=False)
    assert run.returncode == 1
    assert message in run.stderr
