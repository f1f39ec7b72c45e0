"""``python -m hepcnn``."""

from hepcnn.cli import main

main()
