"""Pile-up: soft collisions laid over hard ones."""

import numpy as np

from hepcnn.generate.particles import Integers, Particles
from hepcnn.generate.pythia import Generator


class PileupPool:
    """Soft collisions to draw from, with replacement.

    Parameters
    ----------
    generator
        Makes the soft collisions.
    n_events
        How many of them to make.

    Notes
    -----
    A collision drawn twice is turned by another angle about the beam each time and mirrored along it every second time
    on average, as is usual for such pools.
    """

    def __init__(self, generator: Generator, n_events: int) -> None:
        pools, first = [], 0
        for record in generator.generate(n_events):
            particles = generator.stable_particles(record)
            columns = particles.columns() | {"event": particles.event + first}
            pools.append(Particles(**columns))  # type: ignore[arg-type]
            first += len(record)
        self._particles = Particles.concatenate(pools)
        self._n_events = first
        self._start = np.searchsorted(self._particles.event, np.arange(first + 1))

    def overlay(self, hard: Particles, n_events: int, mean: float, rng: np.random.Generator) -> Particles:
        """Add a Poisson number of soft collisions to each of n_events hard ones; the result is ordered by event."""
        n_soft = rng.poisson(mean, n_events)
        event = np.repeat(np.arange(n_events), n_soft)
        chosen = rng.integers(self._n_events, size=len(event))
        angle, mirror = rng.uniform(-np.pi, np.pi, len(event)), rng.choice([-1.0, 1.0], len(event))
        counts = self._start[chosen + 1] - self._start[chosen]
        soft = self._particles.select(_ranges(self._start[chosen], counts))
        cosine, sine = np.repeat(np.cos(angle), counts), np.repeat(np.sin(angle), counts)
        turned = Particles(
            event=np.repeat(event, counts),
            pdg_id=soft.pdg_id,
            charge=soft.charge,
            px=cosine * soft.px - sine * soft.py,
            py=sine * soft.px + cosine * soft.py,
            pz=soft.pz * np.repeat(mirror, counts),
            energy=soft.energy,
            is_pileup=np.ones(len(soft), dtype=np.bool_),
        )
        together = Particles.concatenate([hard, turned])
        return together.select(np.argsort(together.event, kind="stable"))


def _ranges(starts: Integers, counts: Integers) -> Integers:
    """``starts[0], starts[0] + 1, …`` (counts[0] of them), then the same for the next."""
    before = np.cumsum(counts) - counts
    rows: Integers = np.arange(int(counts.sum())) + np.repeat(starts - before, counts)
    return rows
