"""What a study consists of, and whether it can work: asked when the workflow is parsed, before anything runs."""

from hepcnn.config import StudyConfig
from hepcnn.generate.settings import load_settings
from hepcnn.images.recipe import make_recipe
from hepcnn.io.schema import parse_schema_name, read_schema


def seeds_of(study: StudyConfig, tagger: str) -> list[int]:
    """Networks are trained once for each seed, baselines are fitted once."""
    return study.seeds if tagger in study.models else study.seeds[:1]


def check_study(study: StudyConfig) -> None:
    """Check the names that the config's own schema cannot know: channels, steps, features, presets, file families.

    Raises
    ------
    ConfigError, SchemaError
        Naming the wrong one and the nearest that exist. Networks are checked when they are built, since that takes
        torch.
    """
    make_recipe(study.images, radius=1.0)
    load_settings(study.generate.preset, study.generate.settings)
    for sample in study.samples.values():
        if sample.schema_name is not None:
            family, collection = parse_schema_name(sample.schema_name)
            read_schema(family).collection(collection)
