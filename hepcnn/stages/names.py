"""Which runs a study consists of. Imports nothing heavy: the workflow asks when it is parsed."""

from hepcnn.config import StudyConfig


def seeds_of(study: StudyConfig, tagger: str) -> list[int]:
    """Networks are trained once for each seed, baselines are fitted once."""
    return study.seeds if tagger in study.models else study.seeds[:1]
