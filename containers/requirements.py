"""Print the lock file without the packages that a variant of the container does not need.

``python containers/requirements.py cuda`` prints it whole; ``cpu`` leaves out torch, torchvision and all that is for
GPUs, since PyTorch's builds for the CPU alone are on an index of their own, with other hashes. ``torch`` prints the two
that are left out, with the versions of the lock.
"""

import re
import sys
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements.lock"
TORCH = re.compile(r"(torch|torchvision)==")
OF_GPUS = re.compile(r"(nvidia|cuda)-[a-z0-9-]+==|triton==")


def split_lock(text: str) -> list[str]:
    """One text for each package: its line, and the indented ones below, which hold its hashes."""
    return re.findall(r"^[^\s#].*\n(?:[ \t]+.*\n)*", text, re.MULTILINE)


def choose(text: str, variant: str) -> list[str]:
    """The entries of a lock file that a variant needs."""
    entries = split_lock(text)
    if variant == "torch":
        return [re.split(r"[\s;\\]", entry)[0] + "\n" for entry in entries if TORCH.match(entry)]
    if variant == "cpu":
        return [entry for entry in entries if not TORCH.match(entry) and not OF_GPUS.match(entry)]
    return entries


def main() -> None:
    """Print the variant that is named."""
    if sys.argv[1:] not in (["cpu"], ["cuda"], ["torch"]):
        sys.exit("usage: requirements.py cpu|cuda|torch")
    sys.stdout.writelines(choose(LOCK.read_text(encoding="utf-8"), sys.argv[1]))


if __name__ == "__main__":
    main()
