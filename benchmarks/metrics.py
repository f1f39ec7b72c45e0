"""All metrics of one tagger with their bootstraps on many jets, beside scikit-learn's AUC one resampling at a time.

    python -m benchmarks.metrics [--jets 10000000] [--bootstraps 1000] [--only-verb]

The peer's time is that of three resamplings times a third of their number. Last comes the whole verb, ``hepcnn
evaluate`` with files, working points, tables and pictures, in a process of its own with its own memory; processor time
is that of all its threads.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from hepcnn.evaluation.bootstrap import bootstrap_sample, count_cores
from hepcnn.evaluation.pair_metrics import measure_pair
from hepcnn.io.scores import Scores, write_scores

PEER_REPEATS = 3


def make_jets(n: int) -> tuple[Any, Any, Any]:
    """Probabilities, labels and weights of two Gaussian classes."""
    rng = np.random.default_rng(1)
    label = np.arange(n) % 2 == 1
    score = 1 / (1 + np.exp(-2 * (rng.normal(0, 1, n) + 2 * label - 1)))
    return score, label, rng.uniform(0.5, 1.5, n)


def timed(function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, float]:
    """A result, and the seconds it took."""
    start = time.perf_counter()
    found = function(*arguments, **options)
    return found, time.perf_counter() - start


def resample_with_sklearn(score: Any, label: Any, weight: Any, n: int) -> Any:
    """AUCs of n resamplings, each from scratch."""
    rng = np.random.default_rng(2)
    return [roc_auc_score(label, score, sample_weight=weight * rng.poisson(1.0, len(score))) for _ in range(n)]


def write_jets(path: Path, n: int) -> None:
    """A tagger's scores as a training leaves them: probabilities, and five properties of the jets."""
    score, label, weight = make_jets(n)
    rng = np.random.default_rng(3)
    jets = {
        "pt": rng.uniform(550, 650, n),
        "eta": rng.uniform(-2, 2, n),
        "phi": rng.uniform(-np.pi, np.pi, n),
        "mass": rng.gamma(4, 20, n),
        "n_constituents": rng.poisson(50, n),
    }
    columns = {name: values.astype(np.float32) for name, values in jets.items()}
    both = np.stack([1 - score, score], axis=1).astype(np.float32)
    write_scores(path, Scores(both, label.astype(np.int64), weight.astype(np.float32), columns, ("qcd", "top")))


def time_verb(n: int) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak GiB of ``hepcnn evaluate`` on n jets."""
    with tempfile.TemporaryDirectory() as folder:
        scores = Path(folder) / "scores.h5"
        write_jets(scores, n)
        command = [sys.executable, "-m", "hepcnn", "evaluate", str(scores), "-o", str(Path(folder) / "out")]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024**2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jets", type=int, default=10_000_000)
    parser.add_argument("--bootstraps", type=int, default=1000)
    parser.add_argument("--only-verb", action="store_true")
    asked = parser.parse_args()
    if not asked.only_verb:
        time_functions(asked)
    seconds, processor, memory = time_verb(asked.jets)
    print(f"\nhepcnn evaluate, {asked.jets:,} jets: {seconds:.1f} s, processor {processor:.1f} s, {memory:.1f} GiB")


def time_functions(asked: argparse.Namespace) -> None:
    """All numbers of a pair, the bootstrap alone, and the peer."""
    jets = make_jets(asked.jets)
    bootstrap_sample(*(x[:1000] for x in jets), n_bootstrap=10)  # compiled before it is timed
    replicas, boot_seconds = timed(bootstrap_sample, *jets, n_bootstrap=asked.bootstraps)
    found, seconds = timed(measure_pair, *jets, n_bootstrap=asked.bootstraps)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    _, peer_seconds = timed(resample_with_sklearn, *jets, PEER_REPEATS)
    peer_total = peer_seconds / PEER_REPEATS * asked.bootstraps
    print(f"{asked.jets:,} weighted jets, {asked.bootstraps} resamplings, {count_cores()} cores\n")
    print("| what | seconds | memory |")
    print("| --- | --- | --- |")
    print(f"| hepcnn: all metrics with their errors | {seconds:.1f} | {memory:.1f} GiB |")
    print(f"| hepcnn: the bootstrap alone | {boot_seconds:.1f} | |")
    print(f"| scikit-learn: AUC alone, {PEER_REPEATS} resamplings, times {asked.bootstraps} | {peer_total:,.0f} | |")
    delong = found["auc"].err_stat
    print(f"\nerror of the AUC: DeLong {delong:.3g}, bootstrap {np.std(replicas.auc, ddof=1):.3g}", end="; ")
    print(f"bins move an AUC by less than {replicas.binning_error:.2g}")


if __name__ == "__main__":
    main()
