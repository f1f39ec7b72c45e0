"""Writes weaver-core's ParticleNet as ONNX, by its own way; run by ``benchmarks.tagger`` with a Python that has it.

``weaver_tagger.py {full,lite} N_FEATURES LENGTH OUTPUT.onnx``
"""

import logging
import sys

import torch
from weaver.nn.model.ParticleNet import ParticleNet

# The paper's network (arXiv:1902.08570) and its lite variant, as weaver-core's users configure them.
SIZES = {
    "full": {"conv_params": [(16, (64,) * 3), (16, (128,) * 3), (16, (256,) * 3)], "fc_params": [(256, 0.1)]},
    "lite": {"conv_params": [(7, (32,) * 3), (7, (64,) * 3)], "fc_params": [(128, 0.1)]},
}


def main() -> None:
    """Export with random weights: speed does not depend on them."""
    size, n_features, length, output = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    logging.disable(logging.INFO)
    torch.manual_seed(1)
    network = ParticleNet(n_features, 2, use_fusion=False, for_inference=True, **SIZES[size]).eval()
    inputs = torch.rand(2, 2, length), torch.rand(2, n_features, length), torch.ones(2, 1, length)
    names = ["points", "features", "mask"]
    # As weaver-core's train.py does with --export-onnx.
    torch.onnx.export(
        network,
        inputs,
        output,
        input_names=names,
        output_names=["score"],
        dynamic_axes={name: {0: "n", 2: "p"} for name in names},
        opset_version=15,
        dynamo=False,
    )


if __name__ == "__main__":
    main()
