"""Hard processes and proton collisions by Pythia 8, as flat arrays for whole batches of events."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

from hepcnn.errors import ConfigError, HepcnnError, did_you_mean, require
from hepcnn.generate.commands import make_commands
from hepcnn.generate.particles import Floats, Integers, Particles
from hepcnn.generate.settings import JetSettings
from hepcnn.generate.veto import make_early_veto

MAX_SEED = 900_000_000
"""Pythia takes seeds from 1 to this."""
EVENTS_PER_BATCH = 500

QUARKS = "1 2 3 4 5"
NEUTRINOS = "12 14 16"
NEUTRINO_DECAY = f"23:onIfAny = {NEUTRINOS}"


@dataclass(frozen=True)
class Process:
    """A hard process and what its jets are.

    ``label`` is JetClass's name for it. ``heavy`` is the \\|PDG id\\| of the particle that the jet must contain and
    ``n_quarks`` the number of its decay quarks; 0 for QCD. The pT of the hard process is generated between
    ``pt_hat_low`` times the lower and ``pt_hat_high`` times the upper edge of the jets' pT window: far below it, since
    a jet may owe much of its pT to the recoil against initial-state radiation. ``veto_high`` times the upper edge is
    the highest pT that jets of partons may have: more where b hadrons lose pT to neutrinos.
    """

    label: str
    heavy: int
    n_quarks: int
    pt_hat_low: float
    pt_hat_high: float
    commands: tuple[str, ...]
    veto_high: float = 1.10


def _decay(particle: int, products: str) -> tuple[str, str]:
    return f"{particle}:onMode = off", f"{particle}:onIfAny = {products}"


PROCESSES: dict[str, Process] = {
    "qcd": Process("QCD", 0, 0, 0.55, 1.30, ("HardQCD:all = on",)),
    "top": Process(
        "Tbqq",
        6,
        3,
        0.50,
        1.30,
        ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *_decay(24, QUARKS)),
        veto_high=1.16,
    ),
    # The other boson is invisible, so that the leading jet is the one wanted.
    "w": Process(
        "Wqq", 24, 2, 0.40, 1.30, ("WeakDoubleBoson:ffbar2ZW = on", *_decay(24, QUARKS), *_decay(23, NEUTRINOS))
    ),
    # Both bosons decay alike, so both to quarks: pure Z, without the photon part.
    "z": Process(
        "Zqq", 23, 2, 0.40, 1.30, ("WeakDoubleBoson:ffbar2gmZgmZ = on", "WeakZ0:gmZmode = 2", *_decay(23, QUARKS))
    ),
    "higgs": Process(
        "Hbb",
        25,
        2,
        0.40,
        1.40,
        ("HiggsSM:ffbar2HZ = on", *_decay(25, "5"), *_decay(23, NEUTRINOS)),
        veto_high=1.30,
    ),
}


@dataclass(frozen=True)
class Record:
    """The event records of a batch, flat: R rows of all events, event i being rows ``start[i]`` to ``start[i + 1]``.

    ``mother`` is the row of the first mother within the batch; row 0 of each event stands for the event itself.
    """

    start: Integers
    pdg_id: Integers
    status: Integers
    mother: Integers
    px: Floats
    py: Floats
    pz: Floats
    energy: Floats

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def event(self) -> Integers:
        """Number of the event (R,) in the batch."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))


def get_process(name: str) -> Process:
    """A process by name.

    Raises
    ------
    ConfigError
        When there is none of this name; the message names the nearest.
    """
    if name not in PROCESSES:
        raise ConfigError(f"no process '{name}'{did_you_mean(name, PROCESSES)}")
    return PROCESSES[name]


def pt_hat_window(process: Process, settings: JetSettings) -> tuple[float, float]:
    """Window of the hard process' pT in GeV: from the settings, where they do not say so from the process.

    Raises
    ------
    ConfigError
        When nothing is left of it.
    """
    low = settings.pt_hat_min if settings.pt_hat_min is not None else process.pt_hat_low * settings.pt_min
    high = settings.pt_hat_max if settings.pt_hat_max is not None else process.pt_hat_high * settings.pt_max
    if low >= high or 2 * low >= settings.ecm_gev:
        raise ConfigError(
            f"no hard process has a pT from {low:g} to {high:g} GeV at ecm_gev {settings.ecm_gev:g}: pt_hat_min "
            "must be below pt_hat_max and half of ecm_gev (what is not set follows from pt_min and pt_max)"
        )
    return low, high


class Generator:
    """One Pythia instance.

    Parameters
    ----------
    commands
        Settings in Pythia's own words, besides beams, seed and lifetimes.
    ecm_gev
        Energy of the two protons together.
    seed
        From 1 to `MAX_SEED`.
    veto
        A hook that may reject an event while Pythia makes it; Pythia then tries another.

    Raises
    ------
    MissingExtraError
        When pythia8mc is not installed.
    HepcnnError
        When Pythia refuses the settings.

    Notes
    -----
    Particles with a mean path c·tau above 10 mm are stable, as in samples made for Delphes: K0S and Lambda reach the
    calorimeter.
    """

    def __init__(self, commands: Sequence[str], *, ecm_gev: float, seed: int, veto: Any = None) -> None:
        pythia8 = require("pythia8mc", extra="generate")
        self._pythia: Any = pythia8.Pythia("", False)
        common = (
            "Print:quiet = on",
            f"Beams:eCM = {ecm_gev!r}",
            "Random:setSeed = on",
            f"Random:seed = {seed}",
            "ParticleDecays:limitTau0 = on",
            "ParticleDecays:tau0Max = 10",
        )
        for command in (*common, *commands):
            if not self._pythia.readString(command):
                raise HepcnnError(f"Pythia does not understand '{command}'")
        self._veto = veto  # Pythia does not keep it alive
        if veto is not None:
            self._pythia.setUserHooksPtr(veto)
        if not self._pythia.init():
            raise HepcnnError(f"Pythia cannot start with: {'; '.join((*common, *commands))}")

    def generate(self, n_events: int) -> Iterator[Record]:
        """Generate events in batches of at most `EVENTS_PER_BATCH`; those in which Pythia fails are left out."""
        for first in range(0, n_events, EVENTS_PER_BATCH):
            batch = self._pythia.nextBatch(min(EVENTS_PER_BATCH, n_events - first))
            if len(batch):
                yield _flatten(batch)

    def stable_particles(self, record: Record) -> Particles:
        """The particles of a record that reach the detector or escape from it."""
        final = np.flatnonzero(record.status > 0)
        pdg_id = record.pdg_id[final]
        kinds, inverse = np.unique(pdg_id, return_inverse=True)
        charges = np.array([round(self._pythia.particleData.charge(int(kind))) for kind in kinds], dtype=np.int64)
        return Particles(
            event=record.event[final],
            pdg_id=pdg_id,
            charge=charges[inverse],
            px=record.px[final],
            py=record.py[final],
            pz=record.pz[final],
            energy=record.energy[final],
            is_pileup=np.zeros(len(final), dtype=np.bool_),
        )

    def cross_section_pb(self) -> tuple[float, float]:
        """Cross section of what was generated so far, with its error, in pb."""
        info = self._pythia.infoPython()
        return 1e9 * float(info.sigmaGen()), 1e9 * float(info.sigmaErr())


def make_hard_generator(process: Process, settings: JetSettings, seed: int) -> Generator:
    """Pythia for a hard process."""
    low, high = pt_hat_window(process, settings)
    window = (f"PhaseSpace:pTHatMin = {low!r}", f"PhaseSpace:pTHatMax = {high!r}")
    mpi = f"PartonLevel:MPI = {'on' if settings.mpi else 'off'}"
    has_invisible = NEUTRINO_DECAY in process.commands
    veto = make_early_veto(
        settings, pt_high=process.veto_high * settings.pt_max, heavy=process.heavy, has_invisible=has_invisible
    )
    commands = (*process.commands, *window, mpi, *make_commands(settings.pythia))
    return Generator(commands, ecm_gev=settings.ecm_gev, seed=seed, veto=veto)


def make_soft_generator(settings: JetSettings, seed: int) -> Generator:
    """Pythia for soft collisions, of which pile-up is made."""
    return Generator(("SoftQCD:nonDiffractive = on",), ecm_gev=settings.ecm_gev, seed=seed)


def _flatten(batch: Any) -> Record:
    particles = batch.prt
    counts = ak.to_numpy(ak.num(particles, axis=1))
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def column(values: Any, kind: type) -> Any:
        return ak.to_numpy(ak.flatten(values, axis=1)).astype(kind)

    return Record(
        start=start,
        pdg_id=column(particles.id, np.int64),
        status=column(particles.status, np.int64),
        mother=column(particles.mother1, np.int64) + np.repeat(start[:-1], counts),
        px=column(particles.p.px, np.float64),
        py=column(particles.p.py, np.float64),
        pz=column(particles.p.pz, np.float64),
        energy=column(particles.p.e, np.float64),
    )
