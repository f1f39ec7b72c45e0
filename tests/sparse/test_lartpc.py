"""A volume of 192³ voxels, as a liquid-argon detector's, is trained on in little memory."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_an_image_of_192_cubed_goes_forward_and_backward_in_two_gb() -> None:
    options = ["--images", "1", "--voxels", "20000", "--steps", "3", "--json"]
    command = [sys.executable, "-m", "benchmarks.lartpc", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["train"]["shape"] == [192, 192, 192]
    assert min(found["train"]["voxels"]) >= 20_000
    # An image that is dense in float32 is 28 MB for each channel: 0.45 GB for the first of the 16.
    assert found["train"]["peak_gb"] < 2
    assert found["convert"]["peak_gb"] < 1
    assert found["train"]["losses"][-1] < found["train"]["losses"][0]
