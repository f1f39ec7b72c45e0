"""Jets to calibrate with: a few that are generated, written often enough to be measured, or the smallest file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepcnn.config import StudyConfig
from hepcnn.errors import ConfigError
from hepcnn.generate.jets import TREE, generate_jets
from hepcnn.generate.settings import load_settings
from hepcnn.io.heads import is_remote, size_of
from hepcnn.io.root import open_root, write_tree
from hepcnn.planning.calibration import Rate
from hepcnn.planning.clock import Clock, time_import

FEW_EVENTS, EVENTS = 25, 200
N_JETS, N_COPIED = 120, 6000
SEED = 987_654_321


def generate_few(study: StudyConfig, name: str, folder: Path) -> tuple[Path, Rate, float]:
    """Generate some jets of a sample.

    Returns
    -------
    tuple
        The file, what generating costs, and the bytes of a jet in the file.

    Notes
    -----
    A chunk costs its start and its events. A small chunk of one jet and several larger ones tell these apart; in the
    study a chunk has ``events_per_chunk`` events.
    """
    process = study.samples[name].process
    if process is None:
        raise ConfigError(f"sample '{name}' is read from files, not generated")
    settings = load_settings(study.generate.preset, study.generate.settings)
    clock, paths, seconds, summaries = Clock(), [], [], []
    for n_events, n_jets in ((FEW_EVENTS, 1), (EVENTS, N_JETS)):
        paths.append(folder / f"{name}_{n_jets}.root")
        chunked = settings.model_copy(update={"events_per_chunk": n_events})
        with clock.measure() as measured:
            summaries.append(generate_jets(process, n_jets, SEED, paths[-1], settings=chunked))
        seconds += measured
    # A worker imports Pythia with its first chunk.
    began = time_import("hepcnn.generate.worker", "hepcnn.generate.chunk", "pythia8mc", "fastjet")
    chunk_start, per_event = split_chunk_time(seconds, [summary.n_chunks for summary in summaries], began=began)
    jets_per_event = count_accepted(summaries[1].cutflow) / summaries[1].n_events
    per_jet = (per_event + chunk_start / settings.events_per_chunk) / jets_per_event
    # The verb itself, beside its workers, is about as long in starting.
    rate = Rate(start=2 * began, per_jet=per_jet)
    size = (paths[1].stat().st_size - paths[0].stat().st_size) / (N_JETS - 1)
    return paths[1], rate, max(size, 0.0)


def split_chunk_time(seconds: Sequence[float], chunks: Sequence[int], *, began: float) -> tuple[float, float]:
    """Seconds of a chunk's start, and of an event, from two generations.

    Parameters
    ----------
    seconds, chunks
        What each took, and its chunks: those of the first have ``FEW_EVENTS`` events, those of the second ``EVENTS``.
    began
        Seconds until a worker is ready for its first chunk.
    """
    few, more = ((total - began) / n_chunks for total, n_chunks in zip(seconds, chunks, strict=True))
    per_event = max((more - few) / (EVENTS - FEW_EVENTS), 0.0)
    return max(few - FEW_EVENTS * per_event, 0.0), per_event


def count_accepted(cutflow: Mapping[str, int]) -> int:
    """Jets that passed every cut: the last line of a cutflow."""
    return list(cutflow.values())[-1]


def copy_often(path: Path, output: Path, n_jets: int = N_COPIED) -> Path:
    """Write the jets of a generated file again and again, each time as other events."""
    with open_root(path) as file:
        table = file.table(TREE)
        # The lengths of lists are written with the lists.
        names = [name for name in table.columns if not (name.startswith("n") and name[1:] + "_px" in table.columns)]
        columns = table.read(names, 0, table.n_entries)

    def blocks() -> Iterator[Mapping[str, Any]]:
        for first in range(0, n_jets, table.n_entries):
            numbers = np.arange(first, first + table.n_entries, dtype=np.int64)
            yield {**columns, "event_number": numbers}

    write_tree(output, TREE, blocks())
    return output


def choose_file(study: StudyConfig, name: str) -> tuple[str, float]:
    """The smallest file of a sample that is on disk (else the first), and how many times larger all are together."""
    files = study.samples[name].files
    here = [path for path in files if not is_remote(path)] or files[:1]
    sizes = {path: size_of(path) for path in here}
    smallest = min(sizes, key=lambda path: sizes[path])
    share = sum(sizes.values()) / max(sizes[smallest], 1)
    return smallest, share * len(files) / len(here)
