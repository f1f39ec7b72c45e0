"""Jets per second of weaver-core's training loop; run by ``benchmarks.train`` with a Python that has weaver-core.

``weaver_train.py CONFIG NETWORK BATCH REPEAT N_JETS NAME=FILE…`` prints a JSON list: jets per second of processor
time of each epoch after the first, in which files are read and caches are filled.
"""

import argparse
import json
import logging
import sys
import time

import torch
from torch import Tensor, nn
from weaver.utils.dataset import SimpleIterDataset
from weaver.utils.nn.tools import train_classification

from hepcnn.models import create_model

GRID = (40, 40)


class Network(nn.Module):
    """hepcnn's network, which takes images as weaver-core gives them: (N, 1, pixels)."""

    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.model = create_model(name, in_channels=1, n_classes=2, grid=GRID)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, 2)."""
        # As `hepcnn.training.network` does, which imports more than weaver-core's environment has.
        logits: Tensor = self.model(torch.pow((pixels / 1.0).clamp_min(0.0), 0.5).view(-1, 1, *GRID), None)
        return logits


def main() -> None:
    """Train for as many epochs as are to be timed, and one before."""
    config, name, batch_size, repeat, n_jets = sys.argv[1], sys.argv[2], *(int(text) for text in sys.argv[3:6])
    files = {key: [path] for key, path in (item.split("=", 1) for item in sys.argv[6:])}
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    # Its fastest way: everything in memory, no worker processes.
    options = {"infinity_mode": True, "in_memory": True, "fetch_step": 1, "name": "train"}
    data = SimpleIterDataset(files, config, for_training=True, **options)
    loader = torch.utils.data.DataLoader(data, batch_size=batch_size, num_workers=0, drop_last=True)
    network = Network(name)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    arguments = {"args": argparse.Namespace(use_amp=False, amp_dtype=None)}
    speeds, steps = [], n_jets // batch_size
    for epoch in range(repeat + 1):
        started = time.process_time()
        train_classification(
            network,
            nn.CrossEntropyLoss(),
            optimizer,
            None,
            loader,
            torch.device("cpu"),
            epoch,
            steps_per_epoch=steps,
            extra_args=arguments,
        )
        speeds.append(steps * batch_size / (time.process_time() - started))
    print(json.dumps(speeds[1:]))


if __name__ == "__main__":
    main()
