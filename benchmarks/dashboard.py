"""How the dashboard pages through a large study: ``python -m benchmarks.dashboard``.

Runs of a made-up study go through their spools into a SQLite store; then ``hepcnn track ui`` is started, and what
MLflow's page asks of it is asked and timed: the table, a chart of one metric of all runs, the metrics of one run.
"""

import argparse
import json
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from hepcnn.spool.writer import Identity, SpoolWriter
from hepcnn.tracking.sync import sync_paths


def spool_runs(folder: Path, uri: str, *, n_runs: int, n_metrics: int, n_epochs: int) -> None:
    """The spools of trainings whose curves go up."""
    for number in range(n_runs):
        name = f"cnn seed {number}"
        identity = Identity(name, name, "train", "large", parent="large", uri=uri, experiment="large")
        writer = SpoolWriter(folder / f"seed{number}" / "track.jsonl", identity)
        writer.add_params({"seed": number, "optimizer.lr": 1e-3})
        for epoch in range(n_epochs):
            value = 1 - 0.3 * math.exp(-epoch / 20) - 1e-3 * number
            writer.add_metrics({f"metric{k}": value + k for k in range(n_metrics)}, step=epoch)
        writer.add_metrics({"auc": value, "auc_err": 1e-3, "rej_0.3": 100.0 + number}, step=0)
        writer.end("FINISHED")


def serve(folder: Path, uri: str) -> tuple[subprocess.Popen[bytes], str]:
    """The dashboard, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "hepcnn", "track", "ui", "--uri", uri, "--port", str(port), "--no-login"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, start_new_session=True)
    base = f"http://127.0.0.1:{port}"
    while True:
        try:
            urllib.request.urlopen(f"{base}/health").close()
        except urllib.error.URLError:
            time.sleep(0.2)
        else:
            return process, base


def ask(address: str, body: object = None) -> bytes:
    """What the dashboard answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return bytes(answer.read())


def measure(name: str, call: Callable[[], bytes], *, repeat: int) -> None:
    """Print the median time of an answer, and its size."""
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        size = len(call())
        times.append(time.perf_counter() - started)
    print(f"{name:40} {1000 * statistics.median(times):8.0f} ms {size / 1000:10.0f} kB")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--metrics", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        uri = f"sqlite:///{folder}/mlflow.db"
        spool_runs(folder / "runs", uri, n_runs=arguments.runs, n_metrics=arguments.metrics, n_epochs=arguments.epochs)
        started, cpu = time.perf_counter(), time.process_time()
        runs = sync_paths([folder / "runs"])
        n_points = sum(run.n_points for run in runs)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        size = (folder / "mlflow.db").stat().st_size
        print(f"{n_points} points of {len(runs)} runs in {seconds:.0f} s ({cpu:.0f} s of processor time): ", end="")
        print(f"{n_points / seconds:.0f} points/s, {size / n_points:.0f} bytes a point")
        process, base = serve(folder, uri)
        try:
            measure_page(base, repeat=arguments.repeat)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def measure_page(base: str, *, repeat: int) -> None:
    """Ask what the page asks."""
    api = f"{base}/ajax-api/2.0/mlflow"
    found = json.loads(ask(f"{api}/experiments/search?max_results=10"))["experiments"]
    (experiment,) = [one["experiment_id"] for one in found if one["name"] == "large"]
    table = {"experiment_ids": [experiment], "max_results": 100, "order_by": ["metrics.`auc` DESC"]}
    runs = [run["info"]["run_id"] for run in json.loads(ask(f"{api}/runs/search", table))["runs"]]
    history = f"{api}/metrics/get-history-bulk-interval?max_results=320&metric_key="
    many = urlencode({"run_ids": runs}, doseq=True)

    def ask_run() -> bytes:
        run = ask(f"{api}/runs/get?run_id={runs[0]}")
        keys = [metric["key"] for metric in json.loads(run)["run"]["data"]["metrics"]]
        return run + b"".join(ask(f"{history}{key}&run_ids={runs[0]}") for key in keys)

    measure("table of all runs, sorted by AUC", lambda: ask(f"{api}/runs/search", table), repeat=repeat)
    measure("one metric's curves of all runs", lambda: ask(f"{history}metric0&{many}"), repeat=repeat)
    measure("a run with the curves of all metrics", ask_run, repeat=repeat)


if __name__ == "__main__":
    main()
