"""Events that cannot end in the jets' window, rejected early in their making.

Of all the events whose hard process could lead to a jet in the window, only a few per cent do. Most of the others are
recognised when the shower has come down to `VETO_SCALE`, for a fiftieth of the price of a whole event; what is left of
top quarks and bosons is looked at again when they have decayed, before hadrons are made.
docs/generation.md says how many good jets the margins lose.
"""

from typing import Any

from hepcnn.errors import EmptySampleError, require
from hepcnn.generate.settings import JetSettings
from hepcnn.kinematics import delta_r

VETO_SCALE = 50.0
"""GeV of transverse momentum at which the shower is looked at."""
PT_LOW = 0.93
"""Parton jets must be above this times the lower edge of the pT window."""
ETA_MARGIN = 0.2
RADIUS_MARGIN = 0.1
PILEUP_PT = 1.5
"""GeV that a soft collision may add to a jet of R = 0.8."""
JOINT_EVOLUTION = 3
"""Pythia counts the stages of a shower: up to this it is that of the hard process, beyond it that of decays."""
HARD_PRODUCTS = range(5, 9)
"""Where the products of the hard process begin in Pythia's record: after system, beams and incoming partons."""
TOP, W = 6, 24
GIVE_UP_AFTER = 100_000
"""Events rejected in a row after which nothing is expected to pass; of the presets' events, some per cent do."""


def make_early_veto(settings: JetSettings, *, pt_high: float, heavy: int = 0, has_invisible: bool = False) -> Any:
    """A Pythia hook that rejects events by their anti-kt jets of partons.

    Parameters
    ----------
    settings
        Window and radius of the jets.
    pt_high
        GeV that parton jets may have at most.
    heavy
        \\|PDG id\\| of the particle that the jet must contain; 0 for none.
    has_invisible
        Whether something that will decay to neutrinos flies with it, which makes a jet of partons but none in the end.

    Raises
    ------
    MissingExtraError
        When pythia8mc is not installed.
    EmptySampleError
        From the hook, when it has rejected `GIVE_UP_AFTER` events in a row: Pythia would try for ever.

    Notes
    -----
    Rejected is an event whose leading parton jet is above the window, or none of whose parton jets is above its lower
    edge, in acceptance and, after the decays, around a heavy particle with all its quarks; all with a margin.
    """
    pythia8 = require("pythia8mc", extra="generate")
    area = (settings.jet_radius / 0.8) ** 2
    pt_low = PT_LOW * settings.pt_min - PILEUP_PT * settings.pileup_mean * area
    abs_eta_max = settings.abs_eta_max + ETA_MARGIN
    radius = settings.match_radius + RADIUS_MARGIN

    class EarlyVeto(pythia8.UserHooks):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            pythia8.UserHooks.__init__(self)
            # Power -1 is anti-kt; all final partons (1) or only those one could see (2), with their masses (2).
            self._early = pythia8.SlowJet(-1, settings.jet_radius, max(pt_low, 1.0), 25.0, 1, 2)
            self._late = pythia8.SlowJet(-1, settings.jet_radius, max(pt_low, 1.0), 25.0, 2, 2)
            self._n_rejected = 0

        def canVetoPT(self) -> bool:  # noqa: N802
            return True

        def scaleVetoPT(self) -> float:  # noqa: N802
            return VETO_SCALE

        def doVetoPT(self, stage: int, event: Any) -> bool:  # noqa: N802
            if stage > JOINT_EVOLUTION:
                return False
            reject = not self._find_axes(self._early, event, any_leads=has_invisible)
            return self._count(reject=reject, is_last_look=heavy == 0)

        def canVetoPartonLevel(self) -> bool:  # noqa: N802
            return heavy > 0

        def doVetoPartonLevel(self, event: Any) -> bool:  # noqa: N802
            axes = self._find_axes(self._late, event, any_leads=False)
            # Without an axis there is nothing to hold, and the decays need not be looked up.
            wanted = [list_decay(event, row) for row in HARD_PRODUCTS if axes and event[row].idAbs() == heavy]
            reject = not any(_holds(axis, points, radius) for axis in axes for points in wanted)
            return self._count(reject=reject, is_last_look=True)

        def _count(self, *, reject: bool, is_last_look: bool) -> bool:
            """Pass a decision on; an end to looking for events that do not exist."""
            if reject:
                self._n_rejected += 1
            elif is_last_look:
                self._n_rejected = 0
            if self._n_rejected >= GIVE_UP_AFTER:
                raise EmptySampleError(
                    f"none of {GIVE_UP_AFTER} events in a row could give a jet with pT {settings.pt_min:g} to "
                    f"{settings.pt_max:g} GeV, |eta| < {settings.abs_eta_max:g}; do pt_hat_min, pt_hat_max and ecm_gev "
                    "fit this window?"
                )
            return reject

        def _find_axes(self, jets: Any, event: Any, *, any_leads: bool) -> list[tuple[float, float]]:
            """eta and phi of the jets that may do; none if one is too hard, unless another may come to lead."""
            jets.analyze(event)
            soft_enough = [jet for jet in range(jets.sizeJet()) if jets.pT(jet) < pt_high]
            if len(soft_enough) < jets.sizeJet() and not any_leads:
                return []
            momenta = (jets.p(jet) for jet in soft_enough)
            axes = ((momentum.eta(), momentum.phi()) for momentum in momenta)
            return [axis for axis in axes if abs(axis[0]) < abs_eta_max]

    def _holds(axis: tuple[float, float], points: list[tuple[float, float]], limit: float) -> bool:
        inside = points if settings.require_containment else points[:1]
        return all(delta_r(eta, phi, *axis) < limit for eta, phi in inside)

    return EarlyVeto()


def list_decay(event: Any, row: int) -> list[tuple[float, float]]:
    """eta and phi of a heavy particle's last copy and of its decay products, through the W of a top quark."""
    last = event[event[row].iBotCopyId()]
    products = [last.daughter1(), last.daughter2()]
    if last.idAbs() == TOP:
        boson = next((product for product in products if event[product].idAbs() == W), products[0])
        boson_end = event[event[boson].iBotCopyId()]
        products = [product for product in products if product != boson]
        products += [boson_end.daughter1(), boson_end.daughter2()]
    return [(last.eta(), last.phi()), *((event[product].eta(), event[product].phi()) for product in products)]
