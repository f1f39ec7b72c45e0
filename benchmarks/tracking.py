"""What tracking costs a training, and how fast spools reach a store: ``python -m benchmarks.tracking``.

A training step here is a small convolution on the CPU. Ways to track take turns, several times over, so that a
neighbour at work disturbs all alike; the ratio is that of the medians of steps per second. Where the machine's own
speed varies by more than what is sought, processor time tells: that of the listener inside the training, and that of
the process beside it which pushes.
"""

import argparse
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import torch

from hepcnn.spool.follower import start_follower
from hepcnn.spool.listener import SpoolListener
from hepcnn.spool.writer import Identity, SpoolWriter
from hepcnn.tracking.push import push_spool
from hepcnn.tracking.store import Store


class Silent:
    """Hears and says nothing."""

    def on_step(self, **_: object) -> None:
        """A batch is done."""

    def on_epoch(self, record: dict[str, float]) -> None:
        """An epoch is done."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """An MLflow server on a SQLite store."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/store.db", "--artifacts-destination", str(folder / "files")]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = (folder / "server.log").open("ab")
    server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True)
    try:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def train(listener: object, *, n_epochs: int, n_steps: int) -> float:
    """Steps per second."""
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(2)
    )
    images = torch.randn(64, 3, 20, 20)
    network(images)
    optimizer = torch.optim.AdamW(network.parameters())
    started = time.perf_counter()
    for epoch in range(n_epochs):
        for step in range(1, n_steps + 1):
            loss = network(images).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            listener.on_step(epoch=epoch, step=step, n_steps=n_steps, loss=loss.item(), jets_per_second=1.0)
        listener.on_epoch({"epoch": epoch + 1.0} | {f"metric{k}": epoch + k for k in range(30)})
    return n_epochs * n_steps / (time.perf_counter() - started)


def measure_training(folder: Path, healthy: str, *, repeat: int, n_epochs: int, n_steps: int) -> None:
    """Print steps per second of each way to track."""
    stores = {"off": None, "spool alone": "", "server healthy": healthy, "server gone": "http://127.0.0.1:9"}
    rates: dict[str, list[float]] = {name: [] for name in stores}
    for turn in range(repeat):
        for name, uri in stores.items():
            listener: object = Silent()
            if uri is not None:
                run = folder / f"{name}-{turn}".replace(" ", "_")
                writer = SpoolWriter(
                    run / "track.jsonl", Identity(run.name, run.name, "train", "b", uri=uri, experiment="b")
                )
                listener = SpoolListener(Silent(), writer, n_epochs=n_epochs)
                if uri:
                    start_follower(run)
                    time.sleep(8)  # a start is no part of a training of hours
            rates[name].append(train(listener, n_epochs=n_epochs, n_steps=n_steps))
            if uri is not None:
                writer.end("FINISHED")
    off = statistics.median(rates["off"])
    print("| tracking | steps/s | of those without |\n| --- | ---: | ---: |")
    for name, found in rates.items():
        print(f"| {name} | {statistics.median(found):.0f} | {statistics.median(found) / off:.3f} |")


def measure_call(folder: Path, *, n_calls: int = 200_000) -> None:
    """Print what the listener takes of the processor for each step, thinning included, and for each written record."""
    writer = SpoolWriter(folder / "calls" / "track.jsonl", Identity("calls", "calls", "train", "b"))
    listener = SpoolListener(Silent(), writer, n_epochs=1)
    started = time.process_time()
    for step in range(1, n_calls + 1):
        listener.on_step(epoch=0, step=step, n_steps=n_calls, loss=0.5, jets_per_second=1e5)
    per_step = (time.process_time() - started) / n_calls
    started = time.process_time()
    for step in range(10_000):
        writer.add_metrics({"loss": 0.5, "jets_per_second": 1e5}, step=step)
    per_record = (time.process_time() - started) / 10_000
    print(f"\nprocessor time: {1e6 * per_step:.2f} µs a step, {1e6 * per_record:.1f} µs a written record")


def measure_follower(folder: Path, healthy: str, *, minutes: float) -> None:
    """Print what the process that pushes takes of a processor, for runs of ten steps a second, an epoch in 10 s."""
    with ThreadPoolExecutor() as pool:
        stores = {"server healthy": healthy, "server gone": "http://127.0.0.1:9"}
        found = {name: pool.submit(follow_slowly, folder, name, uri, minutes) for name, uri in stores.items()}
    print("\n| processor time of the process that pushes | to start, s | later, of a core |\n| --- | ---: | ---: |")
    for name, future in found.items():
        start, share = future.result()
        print(f"| {name} | {start:.1f} | {100 * share:.2f} % |")


def follow_slowly(folder: Path, name: str, uri: str, minutes: float) -> tuple[float, float]:
    """Processor time in seconds that the follower of a run took in its first half minute, and its share after that."""
    run = folder / f"slow-{name}".replace(" ", "_")
    writer = SpoolWriter(run / "track.jsonl", Identity(run.name, run.name, "train", "b", uri=uri, experiment="b"))
    listener = SpoolListener(Silent(), writer, n_epochs=10_000)
    process = start_follower(run)
    if process is None:
        sys.exit(f"{run}: no process to push could be started")
    follower, started, marks = psutil.Process(process), time.monotonic(), []
    for epoch in range(max(2, 3 + round(6 * minutes))):
        for step in range(1, 101):
            listener.on_step(epoch=epoch, step=step, n_steps=100, loss=0.5, jets_per_second=1e5)
            time.sleep(0.1)
        listener.on_epoch({"epoch": epoch + 1.0} | {f"metric{k}": epoch + k for k in range(30)})
        used = follower.cpu_times()
        marks.append((time.monotonic() - started, used.user + used.system))
    writer.end("FINISHED")
    (begin, before), (end, after) = marks[min(2, len(marks) - 2)], marks[-1]
    return before, (after - before) / (end - begin)


def measure_sync(folder: Path, uri: str, *, n_epochs: int = 200, n_direct: int = 200) -> None:
    """Print points per second, from a spool and by direct calls."""
    writer = SpoolWriter(folder / "sync" / "track.jsonl", Identity("sync", "sync", "train", "b"))
    for epoch in range(n_epochs):
        writer.add_metrics({f"metric{k}": epoch + k / 10 for k in range(30)}, step=epoch)
    store = Store(uri, "sync")
    started = time.perf_counter()
    run = push_spool(writer.path, store)
    spooled = run.n_points / (time.perf_counter() - started) if run else 0.0
    other = store.client.create_run(store.experiment).info.run_id
    started = time.perf_counter()
    for step in range(n_direct):
        store.client.log_metric(other, "metric", float(step), step=step)
    direct = n_direct / (time.perf_counter() - started)
    print(f"sync: {spooled:.0f} points/s; log_metric: {direct:.0f} points/s; ratio {spooled / direct:.0f}")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=3.5, help="how long the process that pushes is watched")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, serve(Path(name)) as uri:
        folder = Path(name)
        measure_call(folder)
        measure_sync(folder, uri)
        measure_follower(folder, uri, minutes=arguments.minutes)
        measure_training(folder, uri, repeat=arguments.repeat, n_epochs=arguments.epochs, n_steps=arguments.steps)


if __name__ == "__main__":
    main()
