"""From detector files to a jet tagger that an analysis can use."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Tagger", "__version__"]

if TYPE_CHECKING:
    from hepcnn.tagger import Tagger


def __getattr__(name: str) -> Any:
    # Loaded on first use: `import hepcnn` and `hepcnn --help` stay quick.
    if name == "Tagger":
        from hepcnn.tagger import Tagger

        return Tagger
    raise AttributeError(f"module 'hepcnn' has no attribute '{name}'")
