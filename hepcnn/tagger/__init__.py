"""A bundle → scores: of arrays of any source, and of whole files."""

from typing import TYPE_CHECKING, Any

__all__ = ["TagOptions", "TagSummary", "Tagger", "group_by_jet", "tag_file"]

if TYPE_CHECKING:
    from hepcnn.tagger.files import TagOptions, TagSummary, tag_file
    from hepcnn.tagger.links import group_by_jet
    from hepcnn.tagger.tagger import Tagger


def __getattr__(name: str) -> Any:
    # Who scores arrays does not wait for what reads files.
    if name == "Tagger":
        from hepcnn.tagger.tagger import Tagger

        return Tagger
    if name == "group_by_jet":
        from hepcnn.tagger.links import group_by_jet

        return group_by_jet
    if name in __all__:
        from hepcnn.tagger import files

        return getattr(files, name)
    raise AttributeError(f"module 'hepcnn.tagger' has no attribute '{name}'")
