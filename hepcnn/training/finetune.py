"""Training that starts from another's weights: which are copied, which are held, and how fast the others learn."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from hepcnn.errors import BundleError, ConfigError
from hepcnn.models.base import JetTagger
from hepcnn.training.network import TaggerNetwork

MODEL, HEADS = "model.", ("model.head.", "energy_head.")
FEATURE_SCALES = "feature_mean", "feature_std"
ENERGY_SCALE = "energy_scale"
"""Buffers that belong to the head: scales of what enters there."""
MOST_NAMED = 4


def list_stages(model: JetTagger) -> list[tuple[str, nn.Module]]:
    """The stages of a model's trunk that have parameters, from input to output.

    What ``model.stages()`` says, where a model has that; else its children but the head, where a sequence of blocks
    counts as its blocks.
    """
    own = getattr(model, "stages", None)
    if callable(own) and not isinstance(own, nn.Module):
        stages: list[tuple[str, nn.Module]] = list(own())
    else:
        stages = []
        for name, child in model.named_children():
            if name == "head":
                continue
            blocks = list(child.named_children()) if isinstance(child, nn.Sequential) else []
            if any(True for _, block in blocks for _ in block.children()):
                stages += [(f"{name}.{number}", block) for number, block in blocks]
            else:
                stages.append((name, child))
    return [(name, stage) for name, stage in stages if any(True for _ in stage.parameters())]


def copy_weights(network: TaggerNetwork, weights: Mapping[str, Tensor], *, replace_head: bool, where: str) -> list[str]:
    """Copy weights and normalisation into a network.

    Parameters
    ----------
    network
        Changed in place.
    weights
        Tensors by their names in a `TaggerNetwork`, or in its model alone; the network then keeps the scales of pixels
        and jet-level numbers that it has.
    replace_head
        Leave the head, and the scales of jet-level numbers, as they are in the network.
    where
        What messages call the source.

    Returns
    -------
    list of str
        The names of the tensors that were not copied.

    Raises
    ------
    BundleError
        When a tensor is missing, is not the network's, or has another shape; the message names it. Nothing is then
        copied.
    """
    if not any(name.startswith(MODEL) for name in weights):
        weights = {f"{MODEL}{name}": tensor for name, tensor in weights.items()}
    own = network.state_dict()
    given = {name for name in weights if not (replace_head and _is_of_head(name))}
    wanted = {name for name in own if not (replace_head and _is_of_head(name))}
    if not any(name in weights for name in own if not name.startswith(MODEL)):
        wanted = {name for name in wanted if name.startswith(MODEL)}
    problems = [f"it lacks {_name_some(wanted - given)}"] if wanted - given else []
    if given - wanted:
        problems.append(f"the network has no {_name_some(given - wanted)}")
    other = [name for name in wanted & given if own[name].shape != weights[name].shape]
    if other:
        shown = [f"{name} is {tuple(weights[name].shape)}, here {tuple(own[name].shape)}" for name in sorted(other)]
        problems.append(
            "; ".join(shown[:MOST_NAMED]) + (f"; and {len(other) - MOST_NAMED} more" if shown[MOST_NAMED:] else "")
        )
    if problems:
        raise BundleError(f"{where}: these weights do not fit this network: {'; '.join(problems)}")
    network.load_state_dict({name: weights[name] for name in wanted}, strict=False)
    return sorted(set(own) - wanted)


def hold_stages(network: TaggerNetwork, freeze: int | str) -> None:
    """Let some stages of a network learn nothing, and all others learn.

    Parameters
    ----------
    network
        Changed in place: parameters that are held need no gradient. The training loop then keeps the statistics of
        their batch norms too.
    freeze
        How many stages, counted from the input, or "trunk" for all.

    Raises
    ------
    ConfigError
        When the network has not so many stages.
    """
    stages = list_stages(network.model)
    if isinstance(freeze, int) and freeze > len(stages):
        names = ", ".join(name for name, _ in stages)
        raise ConfigError(f"start_from.freeze: {freeze} stages, but the trunk has {len(stages)}: {names}")
    network.requires_grad_(True)
    if isinstance(freeze, str):
        network.requires_grad_(False)
        for head in _heads(network):
            head.requires_grad_(True)
        return
    for _, stage in stages[:freeze]:
        stage.requires_grad_(False)


def make_param_groups(
    *, learning_rate: float, weight_decay: float, layer_decay: float
) -> Callable[[nn.Module], list[dict[str, Any]]]:
    """Groups of parameters whose learning rate falls from the head to the input, for an optimiser.

    Parameters
    ----------
    learning_rate
        That of the head.
    weight_decay
        Of weights; biases and parameters of normalisations are not decayed.
    layer_decay
        What each stage's rate is multiplied with, seen from the one after it (arXiv:1801.06146, there 1 / 2.6).

    Returns
    -------
    callable
        A `TaggerNetwork` in, groups with ``params``, ``lr`` and ``weight_decay`` out; every parameter is in one.
    """

    def group(network: nn.Module) -> list[dict[str, Any]]:
        if not isinstance(network, TaggerNetwork):
            raise TypeError(f"expected a TaggerNetwork, got {type(network).__name__}")
        stages = [stage for _, stage in list_stages(network.model)]
        depth = {id(p): len(stages) - number for number, stage in enumerate(stages) for p in stage.parameters()}
        depth |= {id(p): 0 for head in _heads(network) for p in head.parameters()}
        groups: dict[tuple[int, bool], dict[str, Any]] = {}
        for parameter in network.parameters():
            steps, is_weight = depth.get(id(parameter), len(stages)), parameter.ndim > 1
            values = {"lr": learning_rate * layer_decay**steps, "weight_decay": weight_decay if is_weight else 0.0}
            groups.setdefault((steps, is_weight), {"params": [], **values})["params"].append(parameter)
        return list(groups.values())

    return group


def _is_of_head(name: str) -> bool:
    return name.startswith(HEADS) or name in (*FEATURE_SCALES, ENERGY_SCALE)


def _heads(network: TaggerNetwork) -> list[nn.Module]:
    return [network.model.head, *([] if network.energy_head is None else [network.energy_head])]


def _name_some(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:MOST_NAMED]) + (f" and {len(shown) - MOST_NAMED} more" if shown[MOST_NAMED:] else "")
