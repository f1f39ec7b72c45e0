"""A bundle → scores of arrays, with ONNX Runtime and without torch."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.bundle import MODEL, Manifest, find_bundle, read_manifest, read_payload
from hepcnn.constituents import Constituents
from hepcnn.errors import HepcnnError, HepcnnWarning, InputError, did_you_mean, require
from hepcnn.images.pixelate import Pixels
from hepcnn.images.reach import measure_reach
from hepcnn.outputs import count_values, join_outputs, list_outputs, split_values
from hepcnn.tagger.accept import AcceptedJets, accept_jets, find_bad, refuse_bad
from hepcnn.tagger.columns import Fields
from hepcnn.tagger.cuts import Cut, list_cuts, make_discriminant
from hepcnn.tagger.plausible import check_pt, check_reach, check_units
from hepcnn.tagger.sessions import Provider, choose_providers, open_session, threads_asked_for

BATCH = 512
LOOKED_AT = 1024
"""Jets of a call whose images are compared with those of the training."""
RUNTIMES = ("onnx", "torch")


class Tagger:
    """A trained tagger. Make one with `Tagger.load`.

    One object serves many threads at once, and travels to other processes by pickling: the graph goes along, so that
    workers need no file.
    """

    def __init__(self, manifest: Manifest, session: Any) -> None:
        self.manifest = manifest
        self.class_names, self.tasks = manifest.class_names, manifest.tasks
        self._outputs, self.n_values = list_outputs(self.tasks), count_values(len(self.class_names), self.tasks)
        self.recipe = manifest.recipe
        self._session = session
        self._inputs = {entry.name for entry in session.get_inputs()}

    def __repr__(self) -> str:
        return f"Tagger({self.manifest.values['model']}, classes={list(self.class_names)}, bundle={self.bundle_id})"

    @property
    def bundle_id(self) -> str:
        """Hash of the bundle's payload."""
        return self.manifest.bundle_id

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        threads: int = 0,
        device: str = "cpu",
        providers: Sequence[Provider] | None = None,
        runtime: str = "onnx",
    ) -> "Tagger":
        """Load a bundle.

        Parameters
        ----------
        path
            The bundle's folder, or the address of a registered one: ``models:/study@champion``, ``models:/study/3``.
        threads
            Threads that one call may use; 0 leaves the choice to ``OMP_NUM_THREADS``, then to the runtime.
        device
            ``cpu``, ``cuda``, ``cuda:1`` …: what the installed runtime was built for.
        providers
            Instead of a device, execution providers as ONNX Runtime names them, with their options.
        runtime
            ``onnx``, which needs ONNX Runtime alone, or ``torch``, which runs the weights themselves.

        Raises
        ------
        BundleError
            When the bundle is incomplete, damaged, or made for another hepcnn.
        HepcnnError
            When this machine has no such device, or the address does not exist.
        MissingExtraError
            When torch, or MLflow for an address, is not installed.
        """
        if runtime not in RUNTIMES:
            raise HepcnnError(f"runtime '{runtime}'{did_you_mean(runtime, RUNTIMES)}")
        manifest = read_manifest(find_bundle(path))
        threads = threads or threads_asked_for()
        if runtime == "torch":
            require("torch", extra="train")
            from hepcnn.tagger.torch_runtime import TorchSession

            return cls(manifest, TorchSession(manifest.path, device))
        chosen = choose_providers(device) if providers is None else tuple(providers)
        model = read_payload(manifest, MODEL)
        return cls(manifest, open_session(model, chosen, threads, str(manifest.path / MODEL)))

    def __call__(
        self, constituents: Any, *, fields: Fields = None, schema: str = "", mask: Any = None, skip_bad: bool = False
    ) -> Any:
        """Score jets.

        Parameters
        ----------
        constituents
            (N, var) of records with ``pt, eta, phi`` and what the bundle's grid, channels and jet features need
            (``energy`` or ``mass``, ``charge``, ``ecal``, ``hcal``, …), in GeV and radians; or (events, var, var),
            jets nested in events, as NanoEvents have them. Momenta may be in any coordinates that ``vector`` knows.
            A mapping of names to arrays does, padded NumPy arrays (N, P) too. Not changed. Other fields are ignored;
            constituents of zero pT, or that are None, carry nothing and do not count.
        fields
            What fields are called: ``{"pt": "PFCands_pt", …}``; of one array (N, P, F) the names of its last axis.
        schema
            A file family whose rules make the fields, as in its files: ``pfnano`` scales candidates by their PUPPI
            weight and estimates calorimeter energies from their kind.
        mask
            (N, P), true where there is a constituent.
        skip_bad
            Give NaN to jets with values that are NaN, infinite or negative, and warn, instead of raising.

        Returns
        -------
        array (N, n_classes) float32
            Probabilities that add up to one, in the order of ``class_names``, one row for each jet whatever is wrong
            with it. A jet without constituents has NaN. Jets nested in events come out as they came in: an awkward
            array (events, var, n_classes).

        Raises
        ------
        InputError, SchemaError
            When a field is missing, or a value is NaN, infinite or negative.

        Warns
        -----
        HepcnnWarning
            Where energies cannot be GeV, or most jets are unlike those of the training in pT or radius.
        """
        accepted = self._accept(constituents, fields=fields, schema=schema, mask=mask)
        return accepted.nest(self._scores_of(self._score_accepted(accepted, skip_bad=skip_bad)))

    def predict(
        self, constituents: Any, *, fields: Fields = None, schema: str = "", mask: Any = None, skip_bad: bool = False
    ) -> dict[str, Any]:
        """All that the tagger says of jets; parameters and errors are those of a call.

        Returns
        -------
        dict
            ``score``, what a call gives; of a tagger with that task also ``energy`` and ``energy_err``, (N,) float32 in
            GeV: the median and the standard deviation that the network expects. Jets without a score have NaN. What
            comes nested in events comes out so.
        """
        accepted = self._accept(constituents, fields=fields, schema=schema, mask=mask)
        values = self._score_accepted(accepted, skip_bad=skip_bad)
        return {name: accepted.nest(array) for name, array in split_values(values, self.tasks).items()}

    def tag(
        self, constituents: Any, *, fields: Fields = None, schema: str = "", mask: Any = None, skip_bad: bool = False
    ) -> ak.Array:
        """Score jets into records: ``tagger.tag(jets).top > 0.9``.

        Parameters and errors are those of a call. Takes what dask_awkward gives to learn of types, too:
        ``dask_awkward.map_partitions(tagger.tag, constituents)``.

        Returns
        -------
        ak.Array
            A record for each jet with a float32 for each class, and ``energy`` and ``energy_err`` in GeV where that is
            a task, nested as the jets came.
        """
        is_traced = isinstance(constituents, ak.Array) and ak.backend(constituents) == "typetracer"
        if is_traced:
            constituents = ak.typetracer.length_zero_if_typetracer(ak.typetracer.touch_data(constituents))
        accepted = self._accept(constituents, fields=fields, schema=schema, mask=mask)
        scores = self._score_accepted(accepted, skip_bad=skip_bad)
        columns = {name: scores[:, column] for column, name in enumerate(self.class_names)}
        columns |= {name: array for name, array in split_values(scores, self.tasks).items() if array.ndim == 1}
        records = ak.zip(columns)
        nested: ak.Array = accepted.nest(records)
        return ak.Array(nested.layout.to_typetracer(forget_length=True)) if is_traced else nested

    def discriminant(self, scores: NDArray[np.float32], signal: str, background: str = "") -> NDArray[np.float64]:
        """Separate two classes: ``p_signal / (p_signal + p_background)`` of scores (N, n_classes), (N,).

        The background is by default the one of the bundle's metrics. NaN scores give NaN.

        Raises
        ------
        InputError
            For an unknown class.
        """
        return make_discriminant(scores, self.manifest, signal, background)

    def cut(self, signal: str, name: str) -> Cut:
        """A working point of the bundle: ``tagger.cut("top", "mistag_1pct").passes(scores)``.

        Raises
        ------
        InputError
            When the bundle has none of this name; the message lists those that it has.
        """
        cuts = [cut for cut in list_cuts(self.manifest) if cut.signal == signal]
        for cut in cuts:
            if cut.name == name:
                return cut
        signals = {cut.signal for cut in list_cuts(self.manifest)}
        if signal not in signals:
            raise InputError(f"the bundle has no working points for '{signal}'{did_you_mean(signal, signals)}")
        raise InputError(f"the bundle has no working point '{name}'{did_you_mean(name, [c.name for c in cuts])}")

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """The working points of the bundle, those that depend on pT after the others."""
        return list_cuts(self.manifest)

    def _accept(self, data: Any, *, fields: Fields, schema: str, mask: Any) -> AcceptedJets:
        accepted = accept_jets(data, needs=self.recipe.needs, fields=fields, schema=schema, mask=mask)
        if not schema and "puppiWeight" in accepted.names:
            self._warn("the constituents' 'puppiWeight' is not applied; schema='pfnano' does")
        try:
            self.recipe.check_fields(list(accepted.constituents.fields), where="constituents")
        except HepcnnError as error:
            if not schema and "pdgId" in accepted.names:
                raise type(error)(
                    f"{error}; schema='pfnano' makes charges and calorimeter energies of CMS candidates"
                ) from error
            raise
        return accepted

    def _warn(self, message: str) -> None:
        warnings.warn(message, HepcnnWarning, stacklevel=4)

    def _score_accepted(self, accepted: AcceptedJets, *, skip_bad: bool) -> NDArray[np.float32]:
        constituents, ranges = accepted.constituents, self.manifest.training_ranges
        bad = np.zeros(len(constituents), dtype=np.bool_)
        if skip_bad:
            for mask in find_bad(constituents).values():
                bad |= constituents.any(mask)
            if bad.any():
                self._warn(
                    f"{int(bad.sum())} of {len(bad)} jets have NaN, infinite or negative values: NaN is their score"
                )
        else:
            refuse_bad(constituents)
        usable = constituents.select(~bad)
        for message in check_units(usable, ranges) + self._compare(usable, ranges):
            self._warn(message)
        scores = np.full((len(constituents), self.n_values), np.nan, dtype=np.float32)
        scores[~bad] = self.predict_constituents(usable)
        return scores

    def _compare(self, constituents: Constituents, ranges: Mapping[str, Any]) -> list[str]:
        """How some of the jets differ from those of the training."""
        if not ranges or not len(constituents):
            return []
        some = constituents.slice(0, min(len(constituents), LOOKED_AT))
        pt = np.hypot(some.momentum[:, 0], some.momentum[:, 1])
        reach = measure_reach(self.recipe.make_pixels(some), self.recipe.grid) if "reach" in ranges else np.zeros(0)
        return check_pt(pt, ranges) + check_reach(reach, ranges, self.recipe.radius)

    def _scores_of(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return split_values(values, self.tasks)["score"]

    def score_constituents(self, constituents: Constituents) -> NDArray[np.float32]:
        """As `predict_constituents`, the probabilities alone, (N, n_classes)."""
        return self._scores_of(self.predict_constituents(constituents))

    def predict_constituents(self, constituents: Constituents) -> NDArray[np.float32]:
        """Say all of jets whose constituents hold what the bundle needs, without NaN, as readers make sure of.

        Returns
        -------
        array (N, n_values) float32
            Probabilities as of a call, then energy and its error where that is a task; a jet without constituents of
            positive pT has NaN.
        """
        # As the readers do: what carries nothing is nothing.
        constituents = constituents.keep(constituents.fields["pt"] > 0)
        parts = [np.zeros((0, self.n_values), np.float32)]
        for start in range(0, len(constituents), 8 * BATCH):
            block = constituents.slice(start, min(start + 8 * BATCH, len(constituents)))
            parts.append(self.predict_pixels(self.recipe.make_pixels(block), self.recipe.make_jet_features(block)))
        scores = np.concatenate(parts)
        scores[constituents.counts == 0] = np.nan
        return scores

    def score_pixels(self, pixels: Pixels, features: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Score jets whose pixels and jet-level numbers are made already, (N, n_classes)."""
        return self._scores_of(self.predict_pixels(pixels, features))

    def predict_pixels(self, pixels: Pixels, features: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """All outputs for jets whose pixels and jet-level numbers are made already, (N, n_values)."""
        columns = [features[name] for name in self.recipe.jet_features]
        stacked = np.stack(columns, axis=1) if columns else np.zeros((len(pixels), 0), np.float32)
        parts = [np.zeros((0, self.n_values), np.float32)]
        for start in range(0, len(pixels), BATCH):
            stop = min(start + BATCH, len(pixels))
            images = pixels.select(start, stop).to_dense(self.recipe.grid.shape)
            parts.append(self.predict_images(images, stacked[start:stop]))
        return np.concatenate(parts)

    def score_images(self, images: NDArray[np.float32], jet_features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score dense images (N, C, and the axes) with jet-level numbers (N, F): probabilities (N, n_classes)."""
        return self._scores_of(self.predict_images(images, jet_features))

    def predict_images(self, images: NDArray[np.float32], jet_features: NDArray[np.float32]) -> NDArray[np.float32]:
        """All outputs for dense images (N, C, and the axes) with jet-level numbers (N, F): (N, n_values)."""
        feed = {"images": images, "jet_features": jet_features}
        taken = {name: array for name, array in feed.items() if name in self._inputs}
        return join_outputs(self._session.run(list(self._outputs), taken))
