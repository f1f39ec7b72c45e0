"""The house rules: imports point one way, and some lines live in one room only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "hepcnn"
# Lower levels know nothing of higher ones. Rooms on one level do not know each other, unless they are listed as one.
LEVELS: tuple[tuple[str, ...], ...] = (
    ("errors", "kinematics"),
    ("atomic", "outputs", "processes", "records"),
    ("grids", "spool"),
    ("config", "paths", "substructure", "constituents", "calorimeters"),
    ("io", "console"),
    ("doctor",),
    ("generate", "images", "sparse", "batch"),
    ("convert",),
    ("data", "models"),
    ("training",),
    ("evaluation",),
    ("bundle",),
    ("tagger", "export", "explain"),
    ("stages",),
    ("tracking",),
    ("planning",),
    ("cli",),
)
RANK = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imported_rooms(path: Path) -> set[str]:
    rooms = {name.split(".")[1] for name in imported_modules(path) if name.startswith("hepcnn.")}
    return rooms & set(RANK)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    room = room_of(path)
    if room in ("__init__", "__main__"):
        return
    assert room in RANK, f"{path}: a room that has no level yet: add it to LEVELS and to docs/architecture.md"
    for other in imported_rooms(path) - {room}:
        assert RANK[other] < RANK[room], f"{path}: '{room}' imports '{other}', which is not below it"


@pytest.mark.parametrize(
    ("module", "owner"),
    [("mlflow", "tracking/"), ("uproot", "io/root"), ("onnxruntime", "tagger/sessions.py")],
)
def test_a_library_has_one_room(module: str, owner: str) -> None:
    also = {"onnxruntime": {"export/network.py", "export/ways.py"}}.get(module, set())
    users = {
        str(path.relative_to(PACKAGE))
        for path in FILES
        if any(name.split(".")[0] == module for name in imported_modules(path))
    }
    assert {user for user in users if not user.startswith(owner)} <= also


def test_only_the_loop_calls_backward() -> None:
    callers = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "backward":
                callers.add(str(path.relative_to(PACKAGE)))
    assert callers == {"training/loop.py"}


def test_phi_wraps_in_one_place() -> None:
    wrapping = {
        str(path.relative_to(PACKAGE))
        for path in FILES
        if "% TWO_PI" in (text := path.read_text(encoding="utf-8")) or "% (2 * np.pi)" in text
    }
    assert wrapping == {"kinematics.py"}


def test_only_the_command_line_prints_or_exits() -> None:
    for path in FILES:
        # Worker processes are programs of their own, which talk through pipes.
        if room_of(path) in ("cli", "console", "processes"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if any(keyword.arg == "file" and "sys" not in ast.unparse(keyword.value) for keyword in node.keywords):
                    continue  # into a pipe or a file
                assert called not in ("print", "sys.exit", "exit"), f"{path}:{node.lineno} calls {called}"


@pytest.mark.parametrize("statement", ["import hepcnn", "import hepcnn.cli.main", "import hepcnn.config, hepcnn.paths"])
def test_light_imports_bring_nothing_heavy(statement: str) -> None:
    heavy = "torch", "awkward", "uproot", "mlflow", "sklearn", "matplotlib", "onnxruntime", "pandas", "numba"
    code = f"{statement}; import sys; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_tagging_needs_no_torch_and_brings_numba_with_the_first_image_only() -> None:
    code = "import sys, hepcnn; hepcnn.Tagger; import hepcnn.io.inspect; print({'torch', 'numba'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_the_snakefile_is_short() -> None:
    lines = (PACKAGE.parent / "Snakefile").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= 40
