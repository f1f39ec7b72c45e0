"""GPUs: whether the driver is there, fits torch's CUDA, and computes right."""

import ctypes
import importlib.metadata
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hepcnn.doctor.finding import Finding

CARDS = Path("/proc/driver/nvidia/gpus")
SIZE = 256
CONV_TOLERANCE = 1e-3
"""Relative, of a convolution in fp32: TF32, which keeps 10 bits, is a thousandth."""


def examine_gpus(*, is_needed: bool = False) -> Iterator[Finding]:
    """The driver, each GPU that torch sees, and what it computes.

    Parameters
    ----------
    is_needed
        Whether a study that says ``training.device: cuda`` is to be trained on this very machine.
    """
    if find_spec("torch") is None:
        yield Finding("GPU", False, "cannot tell without torch", is_needed, "pip install 'hepcnn[train]'")
        return
    import torch

    driver, built = find_driver(), torch.version.cuda
    if driver is None and not count_cards():
        yield Finding("GPU", not is_needed, *_absent(is_needed))
        return
    yield compare_driver(driver, built)
    if not torch.cuda.is_available():
        detail = f"torch {importlib.metadata.version('torch')} sees none of {count_cards() or 'the'} here"
        mend = "is one given to this job (Slurm: --gpus=1), and does CUDA_VISIBLE_DEVICES name it?"
        yield Finding("GPU", False, detail, is_needed, mend)
        return
    for number in range(torch.cuda.device_count()):
        yield _examine_device(torch, number, is_needed)


def _absent(is_needed: bool) -> tuple[str, bool, str]:
    mend = "set training.device to 'auto' or 'cpu', or run where there is one" if is_needed else ""
    return "none here: trainings run on the CPU", is_needed, mend


def count_cards() -> int:
    """NVIDIA cards that the kernel's driver knows."""
    try:
        return len(list(CARDS.iterdir()))
    except OSError:
        return 0


def find_driver() -> tuple[int, int] | None:
    """The newest CUDA that the driver runs, as (12, 4); None without a driver."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    number = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(number)) != 0:
        return None
    return number.value // 1000, number.value % 1000 // 10


def compare_driver(driver: tuple[int, int] | None, built: str | None) -> Finding:
    """Whether a driver runs the CUDA that torch was built with: any of the same or an older major release."""
    what = "CUDA"
    if built is None:
        detail = "there is an NVIDIA card, but this torch was built without CUDA"
        return Finding(what, False, detail, False, "install a CUDA build of torch (see https://pytorch.org)")
    if driver is None:
        detail = "there is an NVIDIA card, but libcuda.so.1 cannot be loaded"
        return Finding(what, False, detail, False, "install the driver; in a container, run it with --nv (--gpus all)")
    major, _, minor = built.partition(".")
    told = f"torch was built with {built}, the driver runs up to {driver[0]}.{driver[1]}"
    if driver[0] < int(major):
        mend = f"install a newer driver, or a torch for CUDA {driver[0]}"
        return Finding(what, False, told, False, mend)
    if driver < (int(major), int(minor)):
        return Finding(what, True, f"{told}: enough, as a minor release", False)
    return Finding(what, True, told, False)


def _examine_device(torch: Any, number: int, is_needed: bool) -> Finding:
    what = "GPU" if not number else f"GPU {number}"
    try:
        name = torch.cuda.get_device_name(number)
        free, whole = torch.cuda.mem_get_info(number)
        wrong = find_wrong_result(f"cuda:{number}")
    except RuntimeError as error:  # what CUDA raises
        return Finding(
            what, False, f"cannot be used: {str(error).splitlines()[0]}", is_needed, _mend_architecture(torch)
        )
    detail = f"{name}, {free / 1e9:.0f} of {whole / 1e9:.0f} GB free"
    if wrong:
        mend = "do not train on it: have the node drained and its memory tested"
        return Finding(what, False, f"{detail}: {wrong}", True, mend)
    return Finding(what, True, f"{detail}, multiplies and convolves as the CPU does", is_needed)


def _mend_architecture(torch: Any) -> str:
    return f"this torch has code for {', '.join(torch.cuda.get_arch_list()) or 'no GPU'}: is the card one of these?"


def find_wrong_result(device: str) -> str:
    """Multiply and convolve on a device; says how it differs from whole numbers on the CPU, or nothing.

    Products of small whole numbers are exact in fp32, and in TF32: the product must be equal bit by bit.
    """
    import torch

    random = torch.Generator().manual_seed(1)
    left, right = (torch.randint(-8, 9, (SIZE, SIZE), generator=random) for _ in range(2))
    found = (left.float().to(device) @ right.float().to(device)).cpu()
    n_wrong = int((found.to(torch.int64) != left @ right).sum())
    if n_wrong:
        return f"{n_wrong} of {found.numel()} elements of a matrix product are wrong"
    image, kernel = left.float()[None, None, :64, :64], right.float()[None, None, :5, :5]
    convolve = torch.nn.functional.conv2d
    expected = convolve(image.double(), kernel.double())
    error = (convolve(image.to(device), kernel.to(device)).cpu().double() - expected).abs().max() / expected.abs().max()
    return "" if float(error) < CONV_TOLERANCE else f"a convolution is off by {float(error):.1e} of its largest value"
