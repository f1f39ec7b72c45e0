"""What a training starts from: another tagger's bundle, or a file of weights."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hepcnn import bundle as bundles
from hepcnn.config import StartConfig, StudyConfig, TrainingConfig, hash_config
from hepcnn.data.dataset import JetColumns
from hepcnn.data.normalisation import Normalisation
from hepcnn.errors import BundleError
from hepcnn.training.finetune import FEATURE_SCALES, copy_weights, hold_stages, make_param_groups
from hepcnn.training.loop import Listener, train_network
from hepcnn.training.network import TaggerNetwork
from hepcnn.training.optim import ParamGroups
from hepcnn.training.state import TrainingState

HEAD_SEED = 1_000_000_007
"""Added to the seed of the phase in which the head learns alone, so that it has another order of jets."""


@dataclass(frozen=True)
class Start:
    """Weights to start from.

    ``identity`` is a bundle's id or a file's hash; ``normalisation`` is that of the network that will take the weights;
    ``replace_head`` and ``reason`` say whether its head stays new, and why.
    """

    config: StartConfig
    identity: str
    weights: Mapping[str, Tensor]
    normalisation: Normalisation
    replace_head: bool
    reason: str = ""

    @property
    def place(self) -> str:
        """The folder or file."""
        return str(self.config.bundle or self.config.weights)

    def load_into(self, network: TaggerNetwork, say: Callable[[str], None] | None = None) -> None:
        """Copy the weights into a fresh network; see `hepcnn.training.finetune.copy_weights`."""
        fresh = copy_weights(network, self.weights, replace_head=self.replace_head, where=self.place)
        if say is not None:
            n_copied = len(network.state_dict()) - len(fresh)
            head = f"the head is new ({self.reason})" if self.replace_head else "the head is kept"
            say(f"starts from {self.place} ({self.identity}): {n_copied} tensors copied, {head}")

    def group_parameters(self, training: TrainingConfig) -> ParamGroups:
        """The optimiser's groups of parameters, with learning rates by depth."""
        return make_param_groups(
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
            layer_decay=self.config.layer_decay,
        )

    def describe(self) -> dict[str, Any]:
        """Plain values, for the record of the run and the manifest."""
        return {"place": self.place, "identity": self.identity, "head": "replace" if self.replace_head else "keep"}


def read_start(study: StudyConfig, name: str, columns: JetColumns, fitted: Normalisation) -> Start | None:
    """Read what one of a study's trainings starts from.

    Parameters
    ----------
    study, name
        The study, and which of its models.
    columns
        What is known of its jets.
    fitted
        The normalisation fitted on its training jets.

    Returns
    -------
    Start or None
        None where the config names no start. The pixels' scales of a bundle come along, since its weights mean nothing
        without; those of jet-level numbers do if the head is kept.

    Raises
    ------
    BundleError
        When there is no such bundle or file, it is damaged, or it was made for another network, other images, another
        ``power``, or (with the head kept) other jet-level inputs; the message says which.
    """
    config = study.model_of(name).start_from
    if config is None:
        return None
    if config.bundle is None:
        return _read_weights(config, fitted)
    manifest = bundles.read_manifest(config.bundle)
    values, training = manifest.values, study.training_of(name)
    if "members" in values:
        raise BundleError(f"{config.bundle}: an ensemble cannot start a training: name one of its members")
    expected = {
        "network": study.model_of(name).network or name,
        **{key: columns.attributes[key] for key in ("grid", "channels", "preprocess")},
        "training.power": training.power,
    }
    found = {key: values.get(key) for key in ("grid", "channels", "preprocess")}
    found |= {"network": values["network"]["name"], "training.power": values["normalisation"]["power"]}
    for key, value in expected.items():
        if found[key] != value:
            raise BundleError(
                f"{config.bundle}: a tagger with {key} {found[key]} cannot start one with {key} {value}: make both "
                "alike"
            )
    replace_head, reason = config.head == "replace", "as the config says"
    if len(manifest.class_names) != len(columns.class_names):
        replace_head = True
        reason = f"{len(columns.class_names)} classes instead of {len(manifest.class_names)}"
    if manifest.tasks != study.tasks_of(name):
        replace_head = True
        reason = f"it learns {' and '.join(study.tasks_of(name))}, the bundle {' and '.join(manifest.tasks)}"
    normalisation = Normalisation.from_dict(values["normalisation"])
    if replace_head:
        normalisation = replace(fitted, channel_scale=normalisation.channel_scale)
    elif normalisation.feature_names != fitted.feature_names:
        raise BundleError(
            f"{config.bundle}: its head takes the jet features {list(normalisation.feature_names)}, "
            f"training.jet_features says {list(fitted.feature_names)}: make both alike, or say head: replace"
        )
    weights = _load(Path(config.bundle) / bundles.WEIGHTS)
    return Start(config, manifest.bundle_id, weights, normalisation, replace_head, reason)


@dataclass(frozen=True)
class Phase:
    """A part of a training: what is held, for how many epochs, and where it goes on from. Its seed is its own."""

    freeze: int | str
    epochs: int
    seed: int
    checkpoint: Path


def train_in_phases(
    network: TaggerNetwork,
    *,
    start: Start | None,
    config: TrainingConfig,
    seed: int,
    checkpoint: Path,
    fingerprint: str,
    listener: Listener,
    **options: Any,
) -> TrainingState:
    """Train a network that may start from other weights: the head first, then all that is not frozen.

    Parameters
    ----------
    network, config, seed, checkpoint, fingerprint, listener, options
        As of `hepcnn.training.loop.train_network`. The phases share the epochs; each has a schedule of its own.
    start
        What it starts from.

    Returns
    -------
    TrainingState
        Of the last phase, with the history and the seconds of all.
    """
    if start is None:
        return train_network(
            network,
            config=config,
            seed=seed,
            checkpoint=checkpoint,
            fingerprint=fingerprint,
            listener=listener,
            **options,
        )
    history: list[dict[str, float]] = []
    for number, phase in enumerate(_list_phases(start.config, config, seed, checkpoint)):
        hold_stages(network, phase.freeze)
        state = train_network(
            network,
            config=config.model_copy(update={"epochs": phase.epochs}),
            seed=phase.seed,
            checkpoint=phase.checkpoint,
            fingerprint=hash_config(fingerprint, start.identity, number),
            listener=_Later(listener, history),
            param_groups=start.group_parameters(config),
            **options,
        )
        history = [*history, *(_shift(record, history) for record in state.history)]
    state.history, state.seconds = history, history[-1]["seconds"]
    return state


def _list_phases(start: StartConfig, config: TrainingConfig, seed: int, checkpoint: Path) -> list[Phase]:
    rest = Phase(start.freeze, config.epochs - start.head_epochs, seed, checkpoint)
    if not start.head_epochs:
        return [rest]
    place = checkpoint.with_name(f"{checkpoint.stem}_head{checkpoint.suffix}")
    return [Phase("trunk", start.head_epochs, seed + HEAD_SEED, place), rest]


class _Later:
    """Passes on what it hears of a phase, counted from the beginning of the training."""

    def __init__(self, inner: Listener, history: list[dict[str, float]]) -> None:
        self.inner, self.history = inner, history

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def on_step(self, *, epoch: int, **values: Any) -> None:
        self.inner.on_step(epoch=epoch + len(self.history), **values)

    def on_epoch(self, record: dict[str, float]) -> None:
        self.inner.on_epoch(_shift(record, self.history))


def _shift(record: dict[str, float], before: list[dict[str, float]]) -> dict[str, float]:
    if not before:
        return record
    seconds = record["seconds"] + before[-1]["seconds"]
    return record | {"epoch": record["epoch"] + before[-1]["epoch"], "seconds": seconds}


def _read_weights(config: StartConfig, fitted: Normalisation) -> Start:
    path = Path(str(config.weights))
    weights = _load(path)
    identity = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    replace_head = config.head == "replace"
    known: dict[str, Any] = {
        name: tuple(weights[name].tolist())
        for name in ("channel_scale", *(() if replace_head else FEATURE_SCALES))
        if name in weights
    }
    return Start(config, identity, weights, replace(fitted, **known), replace_head, "as the config says")


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except OSError as error:
        raise BundleError(f"{path}: cannot read these weights: {error.strerror or error}") from error
    except SafetensorError as error:
        raise BundleError(f"{path}: not a safetensors file of weights: {error}") from error
