"""``python -m hepcnn``."""

from hepcnn.cli.main import main

main()
