"""All metrics of one tagger with their bootstraps on many jets, beside scikit-learn's AUC one resampling at a time.

    python -m benchmarks.metrics [--jets 10000000] [--bootstraps 1000]

The peer's time is that of three resamplings times a third of their number.
"""

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from hepcnn.evaluation.bootstrap import bootstrap_sample, count_cores
from hepcnn.evaluation.pair_metrics import measure_pair

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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jets", type=int, default=10_000_000)
    parser.add_argument("--bootstraps", type=int, default=1000)
    asked = parser.parse_args()
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
