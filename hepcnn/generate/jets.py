"""Jets from proton collisions: the public entry to the generator."""

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepcnn.errors import ConfigError, require
from hepcnn.generate.card import read_card
from hepcnn.generate.commands import check_commands
from hepcnn.generate.output import check_output, open_store, terminate_like_interrupt
from hepcnn.generate.parts import PartStore, library_versions, read_part, sample_key
from hepcnn.generate.pythia import get_process, pt_hat_window
from hepcnn.generate.sample import Progress, Sample, add_up
from hepcnn.generate.settings import JetSettings
from hepcnn.io.root import write_tree

TREE = "tree"
METADATA_KEY = "hepcnn_generation"


@dataclass(frozen=True)
class GenerationSummary:
    """What `generate_jets` did.

    ``n_events`` were generated in ``n_chunks`` chunks, after the veto that discards hopeless ones early; ``cutflow``
    says how many of them were left after each cut, and ``n_jets`` how many jets are in the file (the last chunk may
    hold more than were asked for). ``cross_section_pb`` is that of the generated events, ``_err_pb`` its error.
    ``seconds`` is the time of this call; ``n_chunks_reused`` chunks were left from an earlier one. The settings are all
    there, so that a file says how to make it again.
    """

    process: str
    seed: int
    n_jets: int
    n_events: int
    n_chunks: int
    cutflow: Mapping[str, int]
    cross_section_pb: float
    cross_section_err_pb: float
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    seconds: float
    n_chunks_reused: int

    def to_json(self) -> str:
        """As JSON, without what differs from call to call (``seconds``, ``n_chunks_reused``)."""
        content = dataclasses.asdict(self)
        return json.dumps({k: v for k, v in content.items() if k not in ("seconds", "n_chunks_reused")})


def generate_jets(
    process: str,
    n_jets: int,
    seed: int,
    output: Path,
    *,
    settings: JetSettings,
    workers: int = 1,
    progress: Progress | None = None,
) -> GenerationSummary:
    """Generate jets and write them to a ROOT file.

    Parameters
    ----------
    process
        One of `hepcnn.generate.pythia.PROCESSES`.
    n_jets
        How many jets, at least 1.
    seed
        Not negative. Process, seed and settings decide the content, the number of workers does not; the first jets of a
        larger sample are those of a smaller one.
    output
        The ROOT file; it appears when it is whole. Until then, finished chunks are kept in ``.<name>.parts`` beside it,
        and a call after an interruption goes on from them.
    settings
        From `hepcnn.generate.settings.load_settings`.
    workers
        Processes that generate. The caller only waits for them.
    progress
        Called with the number of jets there and the number wanted.

    Returns
    -------
    GenerationSummary
        Also stored as JSON in the file, under ``hepcnn_generation``.

    Raises
    ------
    ConfigError
        When an argument is not as described.
    EmptySampleError
        When not one jet passes in ``settings.give_up_after_events`` events.
    MissingExtraError
        When Pythia or FastJet is not installed.
    HepcnnError
        When the output cannot be written, or a worker fails.
    """
    started = time.monotonic()
    _check_arguments(process, n_jets, seed, workers, output)
    pt_hat_window(get_process(process), settings)
    card = read_card(settings.detector)
    require("pythia8mc", extra="generate")
    require("fastjet", extra="generate")
    check_commands(settings.pythia)
    store = PartStore(output, sample_key(process, settings, card, seed), read_part)
    open_store(store, output)
    sample = Sample(process, n_jets, seed, settings=settings, card=card, store=store, progress=progress)
    try:
        with terminate_like_interrupt():
            n_chunks = sample.complete(workers)
            summary = _summarise(sample, n_chunks)
            write_tree(output, TREE, sample.blocks(n_chunks), metadata={METADATA_KEY: summary.to_json()})
        store.remove()
    finally:
        store.remove_if_empty()
    return dataclasses.replace(summary, seconds=time.monotonic() - started)


def _check_arguments(process: str, n_jets: int, seed: int, workers: int, output: Path) -> None:
    get_process(process)
    for name, value, least in (("n_jets", n_jets, 1), ("seed", seed, 0), ("workers", workers, 1)):
        if value < least:
            raise ConfigError(f"{name} must be at least {least} (got {value})")
    check_output(output)


def _summarise(sample: Sample, n_chunks: int) -> GenerationSummary:
    cutflow, cross_section, error = add_up(sample.read_chunks(n_chunks))
    return GenerationSummary(
        process=sample.process,
        seed=sample.seed,
        n_jets=sample.n_jets,
        n_events=cutflow["events"],
        n_chunks=n_chunks,
        cutflow=cutflow,
        cross_section_pb=cross_section,
        cross_section_err_pb=error,
        settings=sample.settings.model_dump(mode="json"),
        versions=library_versions(),
        seconds=0.0,
        n_chunks_reused=sample.n_reused,
    )
