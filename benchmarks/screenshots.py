"""Pictures of the dashboard for the docs: ``python -m benchmarks.screenshots STUDY.yaml -o docs/images``.

A headless Chromium looks at what ``hepcnn track ui`` serves. MLflow's panel at the right is cut off.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from benchmarks.dashboard import serve
from hepcnn.config import read_study
from hepcnn.tracking.store import Store
from hepcnn.tracking.view import WORKFLOW

PANEL = 490
MARGIN = 25
"""Pixels at the right that are MLflow's assistant, and the gap before it."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


def take(browser: str, address: str, output: Path, *, width: int, height: int, seconds: float) -> None:
    """Wait until a page is drawn, and keep what is seen of it in few colours."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        shot = Path(folder) / "shot.png"
        flags = [*FLAGS, f"--user-data-dir={folder}/profile", f"--window-size={width + PANEL},{height}"]
        flags += [f"--virtual-time-budget={1000 * seconds:.0f}", f"--screenshot={shot}"]
        started = time.process_time()
        subprocess.run([browser, *flags, address], check=True, stderr=subprocess.DEVNULL)
        picture = Image.open(shot).convert("RGB").crop((0, 0, width - MARGIN, height))
    picture.quantize(128, dither=Image.Dither.NONE).save(output, optimize=True)
    print(f"{output}: {output.stat().st_size / 1000:.0f} kB, {time.process_time() - started:.1f} s")


def main() -> None:
    """Take all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="a study that 'hepcnn track sync' has brought to its store")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images"))
    parser.add_argument("--tagger", default="cnn seed 1")
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("no Chromium here")
    study = read_study(arguments.config)
    store = Store(study.tracking.store, study.tracking.experiment or f"hepcnn-{study.study}")
    names = {run.info.run_name: run.info.run_id for run in store.client.search_runs([store.experiment])}
    (tagger,) = [run for name, run in names.items() if name.startswith(f"{arguments.tagger} ")]
    (whole,) = [run for name, run in names.items() if name.startswith(f"study {study.study} ")]
    process, base = serve(Path.cwd(), study.tracking.store)
    try:
        table = store.address().replace("http://127.0.0.1:5000", base)
        page = f"{base}/#/experiments/{store.experiment}/runs"
        for name, address, height in (
            ("dashboard_table", table, 620),
            ("dashboard_curves", f"{table}&compareRunsMode=CHART", 900),
            ("dashboard_run", f"{page}/{tagger}?{WORKFLOW}", 800),
            ("dashboard_study", f"{page}/{whole}?{WORKFLOW}", 800),
            ("dashboard_roc", f"{page}/{whole}/artifacts/summary/roc.png?{WORKFLOW}", 800),
        ):
            output = arguments.output / f"{name}.png"
            take(browser, address, output, width=1500, height=height, seconds=arguments.seconds)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


if __name__ == "__main__":
    main()
