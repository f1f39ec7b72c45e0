"""Files at addresses: the same jets as on disk, from real servers on this machine; what fails names the address."""

import contextlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pytest

from hepcnn.atomic import refuse_overwriting
from hepcnn.errors import InputError
from hepcnn.io.heads import sha256_of, size_of
from hepcnn.io.inspect import inspect_file
from hepcnn.io.native import native_grid
from hepcnn.io.reader import iterate_jets, plan_jets
from tests.io.layouts import write_showers, write_toptag
from tests.toy import write_toy_jets

pytest.importorskip("aiohttp", reason="the extra 'remote' is not installed")


class Server(http.server.BaseHTTPRequestHandler):
    """A web server that gives ranges of files; it answers S3's questions too, whose GET and HEAD are the same.

    ``budget`` is how many bytes it gives in all before it cuts connections.
    """

    folder: Path
    budget: float

    def do_HEAD(self) -> None:
        """Say how long a file is."""
        self.answer(send=False)

    def do_GET(self) -> None:
        """Give a file, or a range of it."""
        self.answer(send=True)

    def answer(self, *, send: bool) -> None:
        """Send headers and, unless it was only asked for them, bytes."""
        path = self.folder / self.path.split("?")[0].lstrip("/")
        if not path.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, size = path.read_bytes(), path.stat().st_size
        start, stop = 0, size
        asked = self.headers.get("Range")
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1 if last else size, size)
        if start >= size:
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("ETag", '"0"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        if send:
            given = content[start : min(stop, start + int(max(min(self.budget, size), 0)))]
            type(self).budget -= len(given)
            self.wfile.write(given)
            if len(given) < stop - start:
                self.connection.close()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serve(folder: Path, *, budget: float = float("inf")) -> Iterator[tuple[str, type[Server]]]:
    handler = type("Here", (Server,), {"folder": folder, "budget": budget})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", handler
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small file of each format; the last is in a bucket."""
    folder = tmp_path_factory.mktemp("served")
    write_toy_jets(folder / "jets.root", n_jets=40, n_prongs=3, seed=1)
    write_toptag(folder / "jets.h5", 100)
    write_showers(folder / "showers.hdf5", 20, 368)
    np.savez_compressed(folder / "images.npz", arr_0=np.random.default_rng(1).random((30, 8, 8)))
    return folder


SCHEMAS = {"jets.root": "hepcnn", "jets.h5": "toptag", "showers.hdf5": "calochallenge", "images.npz": "images"}


def check_same(path: Path, address: str, schema: str) -> None:
    """The same jets, ranges, hash and description there as here."""
    here, there = list(iterate_jets(path, schema)), list(iterate_jets(address, schema))
    assert len(here) == len(there)
    for ours, theirs in zip(here, there, strict=True):
        assert np.array_equal(ours.event_id, theirs.event_id)
        for name, values in ours.flat.fields.items():
            assert np.array_equal(values, theirs.flat.fields[name])
        assert address in theirs.where
    ranges = plan_jets(address, schema, target=10)
    assert ranges == plan_jets(path, schema, target=10)
    parts = [
        batch.event_id
        for start, stop in ranges
        for batch in iterate_jets(address, schema, entry_start=start, entry_stop=stop)
    ]
    assert np.array_equal(np.concatenate(parts), np.concatenate([b.event_id for b in here]))
    assert native_grid(address, schema) == native_grid(path, schema)
    assert (sha256_of(address), size_of(address)) == (sha256_of(path), path.stat().st_size)
    ours, theirs = inspect_file(path).to_dict(), inspect_file(address).to_dict()
    assert theirs | {"path": str(path)} == ours
    assert theirs["path"] == address


@pytest.mark.parametrize("name", SCHEMAS)
def test_over_http(folder: Path, name: str) -> None:
    with serve(folder) as (address, _):
        check_same(folder / name, f"{address}/{name}", SCHEMAS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_over_s3(folder: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs", reason="the extra 'remote' is not installed")
    (tmp_path / "bucket").mkdir()
    shutil.copy(folder / name, tmp_path / "bucket" / name)
    with serve(tmp_path) as (address, _):
        monkeypatch.setitem(fsspec.config.conf, "s3", {"anon": True, "endpoint_url": address})
        check_same(folder / name, f"s3://bucket/{name}", SCHEMAS[name])


@contextlib.contextmanager
def serve_xrootd(folder: Path, place: Path) -> Iterator[str]:
    """A real XRootD server; it refuses to run as root, so that it is told to be someone else."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = place / "xrootd.cfg"
    config.write_text(
        f"xrd.port {port}\nall.export {folder}\nall.adminpath {place}/admin\n"
        f"all.pidpath {place}/admin\nxrd.allow host *\n"
    )
    as_other = ["-R", "nobody"] if os.geteuid() == 0 else []
    if as_other:
        temporary = Path(tempfile.gettempdir())
        for part in {parent for inner in (place, folder) for parent in (inner, *inner.parents)}:
            if temporary in part.parents:
                part.chmod(0o777)
    command = ["xrootd", "-c", str(config), "-l", str(place / "log"), *as_other]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield f"root://127.0.0.1:{port}/{folder}"
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.skipif(shutil.which("xrootd") is None, reason="there is no XRootD server on this machine")
def test_over_xrootd(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec_xrootd", reason="the extra 'remote' is not installed")
    with serve_xrootd(folder, tmp_path) as address:
        for name, schema in SCHEMAS.items():
            check_same(folder / name, f"{address}/{name}", schema)
        with pytest.raises(InputError, match=r"root://.*/absent\.root: cannot open this address"):
            inspect_file(f"{address}/absent.root")


def test_what_is_not_there_is_told(folder: Path) -> None:
    with serve(folder) as (address, _):
        for name in ("absent.root", "absent.h5"):
            with pytest.raises(InputError, match=rf"{address}/{name}: cannot open this address: .*{name}"):
                inspect_file(f"{address}/{name}")
            with pytest.raises(InputError, match="cannot open this address"):
                plan_jets(f"{address}/{name}", "toptag")


def test_a_server_that_is_away_is_told() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/jets.h5"
    with pytest.raises(InputError, match=rf"{address}: cannot open this address"):
        inspect_file(address)


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("when", ["at once", "on opening", "while reading"])
def test_a_connection_that_is_cut_is_told(folder: Path, name: str, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server stops for good: no half of a file passes for the whole."""
    # Else a small file is fetched whole at once.
    monkeypatch.setitem(fsspec.config.conf, "http", {"block_size": 500})
    with serve(folder) as (address, server):
        jets = iterate_jets(f"{address}/{name}", SCHEMAS[name], step=5)
        if when == "while reading":
            next(jets)
        server.budget = 700 if when == "on opening" else 0
        with pytest.raises(InputError, match=rf"{address}/{name}"):
            list(jets)


def test_an_unknown_protocol_is_told() -> None:
    with pytest.raises(InputError, match=r"gopher://a/b\.h5: nothing is known of gopher://"):
        inspect_file("gopher://a/b.h5")


@pytest.mark.parametrize(
    ("address", "package"),
    [("https://a/b.h5", "aiohttp"), ("s3://a/b.h5", "s3fs"), ("root://a//b.h5", "fsspec_xrootd")],
)
def test_a_missing_extra_is_named(address: str, package: str) -> None:
    code = (
        f"import sys; sys.modules['{package}'] = None\n"
        "from hepcnn.errors import MissingExtraError\nfrom hepcnn.io.inspect import inspect_file\n"
        f"try: inspect_file('{address}')\nexcept MissingExtraError as error: print(error)"
    )
    told = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert told.startswith(address)
    assert "hepcnn[remote]" in told


def test_commands_take_addresses(folder: Path) -> None:
    with serve(folder) as (address, _):
        told = call("inspect", f"{address}/jets.h5", "--json")
        assert told.returncode == 0
        assert json.loads(told.stdout)["path"] == f"{address}/jets.h5"
        told = call("inspect", f"{address}/absent.h5")
        assert told.returncode == 1
        assert f"{address}/absent.h5: cannot open this address" in told.stderr.replace("\n", " ")


@pytest.mark.parametrize("name", ["jets.root", "jets.h5"])
def test_conversion_does_not_depend_on_where_a_file_is(folder: Path, tmp_path: Path, name: str) -> None:
    options = ["--schema", SCHEMAS[name], "--label", "a", "--channels", "pt", "--workers", "2"]
    with serve(folder) as (address, _):
        for place, output in ((str(folder), "here.h5"), (address, "there.h5")):
            told = call("convert", f"{place}/{name}", *options, "-o", str(tmp_path / output))
            assert told.returncode == 0, told.stderr
    with h5py.File(tmp_path / "here.h5") as here, h5py.File(tmp_path / "there.h5") as there:
        for key in ("pixels/indptr", "pixels/index", "pixels/value", "jets/event_id"):
            assert np.array_equal(here[key][:], there[key][:])
        assert address in there.attrs["sources"]


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "hepcnn", *arguments], capture_output=True, text=True, check=False)


def test_an_address_is_never_overwritten_by_mistake(tmp_path: Path) -> None:
    refuse_overwriting(tmp_path / "a.h5", ["https://a.org/a.h5", "s3://bucket/a.h5", "root://a.org//a.h5"])
