"""What a study consists of, and whether it can work: asked when the workflow is parsed, before anything runs."""

from typing import Any

from hepcnn import paths
from hepcnn.calorimeters import read_calorimeter
from hepcnn.config import GenerateConfig, SampleConfig, StudyConfig
from hepcnn.generate.settings import load_settings
from hepcnn.generate.showers.particles import find_particle
from hepcnn.grids import BinningGrid, CalorimeterGrid, GivenGrid
from hepcnn.images.binning import read_binning
from hepcnn.images.recipe import make_recipe
from hepcnn.io.schema import GENERATED_SCHEMA, SHOWER_SCHEMA, parse_schema_name, read_schema

JOB_SHAPE = ("gpu", "gres", "mpi", "nodes", "tasks", "tasks_per_node", "tasks_per_gpu")
"""The resources of Snakemake's that say how a training lies on nodes."""
THREADS = {"generate": 2, "convert": 2}
"""Cores that a job of a stage takes where it is not one; profiles of batch systems say more."""


def seeds_of(study: StudyConfig, tagger: str) -> list[int]:
    """Networks are trained once for each seed, baselines are fitted once."""
    return study.seeds if tagger in study.models else study.seeds[:1]


def gpus_of(study: StudyConfig, tagger: str) -> int:
    """How many GPUs a training asks a batch system for: one a process if the study says ``training.device: cuda``.

    With ``auto`` it takes what the machine has, and so must not wait for one.
    """
    training = study.training_of(tagger)
    return training.processes if training.device == "cuda" else 0


def job_shape(study: StudyConfig, tagger: str) -> dict[str, Any]:
    """How a training lies on nodes, as Snakemake's resources for Slurm; None stands for a resource that is not asked.

    One process needs nothing. Several are the tasks of one job that starts them itself (``mpi``), the same number on
    each node; their GPUs are counted by node where there are several.
    """
    training, gpus = study.training_of(tagger), gpus_of(study, tagger)
    shape: dict[str, Any] = dict.fromkeys(JOB_SHAPE) | {"gpu": gpus}
    if training.processes > 1:
        per_node = training.processes // training.nodes
        shape |= {"mpi": "srun", "nodes": training.nodes, "tasks_per_gpu": 0}
        # The plugin takes no 'tasks_per_node: 1'.
        shape |= {"tasks_per_node": per_node} if per_node > 1 else {"tasks": training.processes}
        if gpus and training.nodes > 1:
            shape |= {"gpu": 0, "gres": f"gpu:{per_node}"}
    return shape


def ensembles_of(study: StudyConfig) -> dict[str, str]:
    """The models whose seeds are joined to one tagger, by the name of that."""
    return {f"{name}_ensemble": name for name in study.models if study.ensembles}


def runs_of(study: StudyConfig) -> list[tuple[str, int]]:
    """All taggers of a study, with each of their seeds; an ensemble stands under the first."""
    names = [*study.models, *ensembles_of(study), *study.baselines]
    return [(name, seed) for name in names for seed in seeds_of(study, name)]


def others_of(study: StudyConfig) -> dict[str, StudyConfig]:
    """The samples that are only scored, by name: each a study of the same classes and images, in its own folder."""
    return {name: _make_other(study, name) for name in study.evaluation.others}


def _make_other(study: StudyConfig, name: str) -> StudyConfig:
    wanted, made = study.evaluation.others[name], study.generate
    generate = GenerateConfig(
        preset=wanted.preset or made.preset,
        # Another preset is taken as it stands; what the study changed belongs to its own.
        settings=wanted.settings if wanted.preset else made.settings | wanted.settings,
        n_jets=wanted.n_jets or made.n_jets,
        seed=made.seed + 1 if wanted.seed is None else wanted.seed,
        showers=made.showers.model_copy(update={"n_showers": wanted.n_jets or made.showers.n_showers}),
    )
    samples: dict[str, SampleConfig] = {}
    for label, sample in study.samples.items():
        changed: dict[str, Any] = {} if wanted.n_jets is None else {"n_jets": None, "n_showers": None}
        if label in wanted.files:
            changed = dict.fromkeys(("process", "particle", "n_jets", "n_showers")) | {"files": wanted.files[label]}
            changed["schema_name"] = sample.schema_name or (SHOWER_SCHEMA if sample.particle else GENERATED_SCHEMA)
        samples[label] = sample.model_copy(update=changed)
    root = paths.study_dir(study.results, study.study)
    evaluation = study.evaluation.model_copy(update={"robustness": False, "others": {}})
    values = {"study": name, "results": str(paths.others_dir(root)), "samples": samples, "generate": generate}
    return study.model_copy(update=values | {"evaluation": evaluation})


def generator_of(study: StudyConfig, name: str) -> str:
    """Which verb of `hepcnn generate` makes a sample: ``"jets"`` or ``"showers"``."""
    return "jets" if study.samples[name].particle is None else "showers"


def count_wanted(study: StudyConfig, name: str) -> int:
    """How many jets, or showers, of a sample are generated."""
    sample, made = study.samples[name], study.generate
    if sample.particle is not None:
        return sample.n_showers or made.showers.n_showers
    return sample.n_jets or made.n_jets


def generation_settings(study: StudyConfig, name: str) -> list[Any]:
    """What the generated file of a sample depends on: the detector's file counts by what it says."""
    sample, made = study.samples[name], study.generate
    if sample.particle is None:
        return [made.model_dump(mode="json", exclude={"showers"}), sample.model_dump(mode="json")]
    detector = read_calorimeter(made.showers.detector).to_record()
    return [made.seed, made.showers.model_dump(mode="json"), detector, sample.model_dump(mode="json")]


def conversion_settings(study: StudyConfig, name: str) -> list[Any]:
    """What the images of a sample depend on beside its files: when it changes, they are made again.

    The labels that other samples claim are a part of it, since these may read the same files; and so is what a file
    says that describes the grid.
    """
    sample = study.samples[name].model_dump(include={"schema_name", "clustering", "event_weight", "label"})
    claims = {other: found.label.model_dump() for other, found in study.samples.items() if found.label is not None}
    settings = [
        study.images.model_dump(mode="json"),
        sample,
        claims if sample["label"] else {},
        list(study.class_names),
    ]
    grid = study.images.grid
    if isinstance(grid, CalorimeterGrid):
        settings.append(read_calorimeter(grid.detector).to_record())
    elif isinstance(grid, BinningGrid):
        settings.append(read_binning(grid.file, grid.particle).model_dump(mode="json"))
    return settings


def check_study(study: StudyConfig) -> None:
    """Check the names that the config's own schema cannot know: channels, steps, features, presets, particles, …

    Raises
    ------
    ConfigError, SchemaError
        Naming the wrong one and the nearest that exist. Networks are checked when they are built, since that takes
        torch.
    """
    # Any grid of ready-made images stands in for the one that the files will say.
    make_recipe(study.images, radius=1.0, native=GivenGrid(shape=(1,)))
    for one in (study, *others_of(study).values()):
        load_settings(one.generate.preset, one.generate.settings)
    for sample in study.samples.values():
        if sample.particle is not None:
            find_particle(sample.particle)
            read_calorimeter(study.generate.showers.detector)
        if sample.schema_name is not None:
            family, collection = parse_schema_name(sample.schema_name)
            read_schema(family).collection(collection)
