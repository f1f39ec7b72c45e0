"""Try learning rates for a tagger of a study; its run is not touched."""

from collections.abc import Callable, Sequence
from pathlib import Path

from hepcnn import paths
from hepcnn.config import StudyConfig
from hepcnn.errors import TrainingError
from hepcnn.stages.finetune import read_start
from hepcnn.stages.inputs import open_inputs
from hepcnn.stages.recipes import make_recipe
from hepcnn.stages.records import write_json
from hepcnn.stages.train import make_network
from hepcnn.training.fabric import make_fabric
from hepcnn.training.find_rate import RateTest, try_rates


def find_learning_rate(
    study: StudyConfig,
    name: str,
    *,
    seed: int,
    output: Path,
    images: Sequence[Path] = (),
    progress: Callable[..., None] = lambda *_: None,
) -> RateTest:
    """Test learning rates on a study's training jets, and write ``lr_finder.json`` into a run's folder.

    The loss, the augmentation and the weights to start from are the training's.

    Parameters
    ----------
    study, name, seed, output, images
        As of `hepcnn.stages.train.train_tagger`.
    progress
        Called with the number of steps, and how many there are at most.

    Raises
    ------
    TrainingError
        When several processes are started, or the loss is not a number at the lowest rates.
    """
    config = study.training_of(name)
    fabric = make_fabric(config)
    if fabric.world_size > 1:
        raise TrainingError("learning rates are tried by one process: start the command without torchrun or srun")
    inputs = open_inputs(study, name, device=fabric.device, images=images)
    start = read_start(study, name, inputs.sample.columns, inputs.normalisation)
    normalisation = inputs.normalisation if start is None else start.normalisation
    network = make_network(study, name, inputs.sample, normalisation, seed=seed)
    recipe = make_recipe(study, name, inputs.sample.columns)
    if start is not None:
        start.load_into(network)
        recipe["param_groups"] = start.group_parameters(config)
    found = try_rates(network, inputs.train, config=config, fabric=fabric, seed=seed, progress=progress, **recipe)
    write_json(paths.rate_test(output), found.to_dict())
    return found
