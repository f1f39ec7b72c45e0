"""One chunk: a fixed number of events with a seed of their own, from the collision to the columns of the file."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from hepcnn.generate.card import DetectorCard
from hepcnn.generate.clustering import LeadingJets, find_leading_jets, make_substructure
from hepcnn.generate.columns import make_jet_columns, make_part_columns
from hepcnn.generate.detector import apply_detector
from hepcnn.generate.pileup import PileupPool
from hepcnn.generate.pythia import (
    MAX_SEED,
    Generator,
    Process,
    Record,
    get_process,
    make_hard_generator,
    make_soft_generator,
)
from hepcnn.generate.settings import JetSettings
from hepcnn.generate.truth import find_heavy_particles, match_jets

CUTS = ("events", "leading_jet_above_pt_min", "in_pt_window", "in_eta_window", "near_particle", "contained")
Columns = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class ChunkSeeds:
    """The seeds of one chunk: two for Pythia, one for everything else."""

    hard: int
    soft: int
    detector: np.random.SeedSequence


@dataclass
class ChunkResult:
    """What a chunk gives.

    ``jets`` are columns (J,), ``parts`` columns (K,) of the constituents of all jets, ``counts`` (J,) how many belong
    to each. ``cutflow`` counts events by `CUTS`. The cross section (pb, with error) is of events that passed the veto.
    """

    jets: Columns
    parts: Columns
    counts: npt.NDArray[np.int64]
    cutflow: dict[str, int] = field(default_factory=dict)
    cross_section_pb: float = 0.0
    cross_section_err_pb: float = 0.0

    @property
    def n_jets(self) -> int:
        """Jets in this chunk."""
        return len(self.counts)


def derive_seeds(process: str, seed: int, chunk: int) -> ChunkSeeds:
    """Seeds of a chunk.

    Parameters
    ----------
    process
        Name of the process: samples of two processes with one seed are independent.
    seed
        The sample's seed.
    chunk
        Number of the chunk.

    Notes
    -----
    Pythia's seeds count up from a number drawn for the sample, so that no two chunks of a sample share one.
    """
    sample = np.random.SeedSequence([seed, zlib.crc32(process.encode())])
    hard, soft = (int(word) for word in sample.generate_state(2, np.uint64))
    detector = np.random.SeedSequence([seed, zlib.crc32(process.encode()), chunk])
    return ChunkSeeds(1 + (hard + chunk) % MAX_SEED, 1 + (soft + chunk) % MAX_SEED, detector)


def generate_chunk(process: str, settings: JetSettings, card: DetectorCard, seed: int, chunk: int) -> ChunkResult:
    """Generate one chunk; the result depends on nothing but the arguments and the versions of the libraries.

    Parameters
    ----------
    process
        Name of the process.
    settings, card
        What to generate and with which detector.
    seed
        The sample's seed.
    chunk
        Number of the chunk.
    """
    seeds = derive_seeds(process, seed, chunk)
    what = get_process(process)
    generator = make_hard_generator(what, settings, seeds.hard)
    rng = np.random.default_rng(seeds.detector)
    pool = None
    if settings.pileup_mean > 0.0:
        pool = PileupPool(make_soft_generator(settings, seeds.soft), settings.pileup_pool_events)
    results, first = [], chunk * settings.events_per_chunk
    for record in generator.generate(settings.events_per_chunk):
        results.append(_process_batch(generator, record, what, settings, card, pool, rng, first))
        first += len(record)
    result = _join(results)
    result.cross_section_pb, result.cross_section_err_pb = generator.cross_section_pb()
    return result


def _process_batch(
    generator: Generator,
    record: Record,
    process: Process,
    settings: JetSettings,
    card: DetectorCard,
    pool: PileupPool | None,
    rng: np.random.Generator,
    first_event: int,
) -> ChunkResult:
    particles = generator.stable_particles(record)
    if pool is not None:
        particles = pool.overlay(particles, len(record), settings.pileup_mean, rng)
    constituents = apply_detector(particles, card, rng, drop_pileup_tracks=settings.pileup_charged_subtraction)
    jets = find_leading_jets(constituents, len(record), radius=settings.jet_radius, pt_min=settings.pt_min)
    heavy = find_heavy_particles(record, process)
    match = match_jets(heavy, jets.event, jets.eta, jets.phi, settings.match_radius)
    passed = [jets.pt < settings.pt_max, np.abs(jets.eta) < settings.abs_eta_max]
    if process.heavy:
        passed += [match.is_near, match.is_contained | (not settings.require_containment)]
    else:
        passed += [np.ones(len(jets.pt), dtype=np.bool_)] * 2
    survivors = np.logical_and.accumulate(passed, axis=0)
    kept = np.flatnonzero(survivors[-1])
    cutflow = dict(zip(CUTS, [len(record), len(jets.pt), *(int(step.sum()) for step in survivors)], strict=True))
    rows = jets.constituents[kept]
    substructure = make_substructure(constituents, rows, radius=settings.jet_radius)
    chosen: LeadingJets = jets.select(kept)
    counts = ak.to_numpy(ak.num(rows, axis=1)).astype(np.int64)
    return ChunkResult(
        jets=make_jet_columns(chosen, counts, substructure, process, heavy, match.heavy[kept], first_event),
        parts=make_part_columns(constituents.select(ak.to_numpy(ak.flatten(rows))), chosen, counts),
        counts=counts,
        cutflow=cutflow,
    )


def _join(results: list[ChunkResult]) -> ChunkResult:
    def stack(pieces: list[Columns]) -> dict[str, Any]:
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    return ChunkResult(
        jets=stack([result.jets for result in results]),
        parts=stack([result.parts for result in results]),
        counts=np.concatenate([result.counts for result in results]),
        cutflow={cut: sum(result.cutflow[cut] for result in results) for cut in CUTS},
    )
