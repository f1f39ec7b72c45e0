"""Jets per second of weaver-core's own loader; run by ``benchmarks.loader`` in an environment that has weaver-core.

``python weaver_loader.py CONFIG BATCH REPEAT N_JETS NAME=FILE…`` prints one JSON object: by variant, the jets/s of each
repetition. Reading in steps is what weaver does by default, every epoch anew; in memory it reads once, and only the
later epochs are timed.
"""

import json
import sys
import time

import torch
from weaver.utils.dataset import SimpleIterDataset

FETCH_STEP = 0.2


def time_epochs(loader: torch.utils.data.DataLoader, n_jets: int, repeat: int, *, endless: bool) -> list[float]:
    """Jets/s of each epoch."""
    found, batches = [], iter(loader) if endless else None
    for _ in range(repeat + endless):
        started, seen = time.perf_counter(), 0
        for inputs, _, _ in batches if endless else loader:
            seen += len(inputs["part"])
            if endless and seen >= n_jets:
                break
        found.append(seen / (time.perf_counter() - started))
    return found[1:] if endless else found


def main() -> None:
    """Time reading in steps with no, one and two workers, and jets in memory without and with one."""
    config, batch_size, repeat = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    n_jets, files = int(sys.argv[4]), {}
    for item in sys.argv[5:]:
        name, path = item.split("=", 1)
        files.setdefault(name, []).append(path)
    speeds = {}
    for in_memory, workers in ((False, 0), (False, 1), (False, 2), (True, 0), (True, 1)):
        step = 1 if in_memory else FETCH_STEP
        options = {"infinity_mode": in_memory, "in_memory": in_memory, "fetch_step": step, "name": "train"}
        data = SimpleIterDataset(files, config, batch_size=batch_size, for_training=True, **options)
        loader = torch.utils.data.DataLoader(data, batch_size=batch_size, num_workers=workers, drop_last=False)
        key = f"{'in memory' if in_memory else 'reading'}, {workers} workers"
        speeds[key] = time_epochs(loader, n_jets, repeat, endless=in_memory)
    print(json.dumps(speeds))


if __name__ == "__main__":
    main()
