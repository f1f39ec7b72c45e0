"""A stand-in for a pool: a program that runs Snakemake with HTCondor's plugin, and runs what it submits itself.

``python -m tests.htcondor.pool SUBMITTED FAIL_FIRST … -- SNAKEMAKE ARGUMENTS``. The plugin, its submit descriptions and
the reader of the event log are the real ones; the schedd and the node are not. A job gets no more of the environment
than its ``getenv`` says, its executable is copied away as CERN's pool does, and the first job of a rule that is named
fails.
"""

import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

TERMINATED = "\n".join(
    [
        "\t(1) Normal termination (return value {status})",
        *(f"\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  {kind} Usage" for kind in ("Run Remote", "Run Local")),
        *(f"\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  {kind} Usage" for kind in ("Total Remote", "Total Local")),
        *(f"\t0  -  {kind} By Job" for kind in ("Run Bytes Sent", "Run Bytes Received")),
        *(f"\t0  -  {kind} By Job" for kind in ("Total Bytes Sent", "Total Bytes Received")),
    ]
)


class Pool:
    """Runs what is submitted, one process a job, and writes the event log that HTCondor would."""

    def __init__(self, submitted: Path, fail_first: list[str]) -> None:
        self.submitted, self.fail_first, self.lock, self.n_jobs = submitted, fail_first, threading.Lock(), 0

    def submit(self, description: Any) -> SimpleNamespace:
        """Take a job; what was asked for is appended to the file of submissions."""
        with self.lock:
            self.n_jobs += 1
            cluster = self.n_jobs
        asked = {key: description[key].replace("$(ClusterId)", str(cluster)) for key in description}
        with self.submitted.open("a") as file:
            print(json.dumps(asked), file=file)
        self.write(asked["log"], cluster, "000", "Job submitted from host: <127.0.0.1:9618>")
        threading.Thread(target=self.run, args=(asked, cluster), daemon=True).start()
        return SimpleNamespace(cluster=lambda: cluster)

    def run(self, asked: dict[str, str], cluster: int) -> None:
        """Be the node."""
        self.write(asked["log"], cluster, "001", "Job executing on host: <127.0.0.1:9619>")
        rule = asked["batch_name"].strip('"').rpartition("-")[0]
        if rule in self.fail_first:
            self.fail_first.remove(rule)
            status = 1
        else:
            wanted = [name.strip() for name in asked["getenv"].split(",")]
            environment = {k: v for k, v in os.environ.items() if any(fnmatch.fnmatch(k, name) for name in wanted)}
            with tempfile.TemporaryDirectory() as scratch, Path(asked["error"]).open("wb") as said:
                program = shutil.copy(asked["executable"], scratch)
                arguments = asked["arguments"].split()
                status = subprocess.run([program, *arguments], env=environment, stdout=said, stderr=said).returncode
        self.write(asked["log"], cluster, "005", "Job terminated.\n" + TERMINATED.format(status=status))

    def write(self, log: str, cluster: int, number: str, text: str) -> None:
        """One event."""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        with self.lock, Path(log).open("a") as file:
            file.write(f"{number} ({cluster:03}.000.000) {now} {text}\n...\n")

    def act(self, *_: Any) -> None:
        """Jobs end with this program."""

    def query(self, *_: Any, **__: Any) -> list[Any]:
        """Nothing is known but what the event log says."""
        return []

    history = query


def main() -> None:
    """Run Snakemake on the stand-in."""
    split = sys.argv.index("--")
    import snakemake_executor_plugin_htcondor as plugin
    from snakemake.cli import main as snakemake

    pool = Pool(Path(sys.argv[1]), sys.argv[2:split])
    plugin.htcondor.Schedd = lambda: pool
    plugin.htcondor.Submit.issue_credentials = lambda _: None
    snakemake(sys.argv[split + 1 :])


if __name__ == "__main__":
    main()
