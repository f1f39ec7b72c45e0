"""A trained tagger as a folder: ``config.yaml``, ``weights.safetensors``, ``model.onnx``, ``manifest.json``.

Nothing in it is executed or unpickled, so a bundle from a stranger can be loaded. No torch is imported here. Checksums
find what was damaged or changed by mistake; they are no signature, and cannot say who made a bundle.
"""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from hepcnn import __version__
from hepcnn.errors import BundleError, require
from hepcnn.images.grids import grid_from_record
from hepcnn.images.preprocess import VERSION as PREPROCESS_VERSION
from hepcnn.images.preprocess import read_preprocessing
from hepcnn.images.recipe import ImageRecipe

FORMAT, VERSION = "hepcnn-bundle", 1
MANIFEST, MODEL, WEIGHTS, CONFIG = "manifest.json", "model.onnx", "weights.safetensors", "config.yaml"
PAYLOAD = (MODEL, WEIGHTS, CONFIG)
DIGEST = "manifest_sha256"
REGISTRY = "models:"
REQUIRED = (
    "version",
    "bundle_id",
    "checksums",
    "versions",
    "class_names",
    "grid",
    "channels",
    "preprocess",
    "jet_features",
    "radius",
    "model",
)
RECORDED_PACKAGES = (
    "hepcnn",
    "numpy",
    "numba",
    "awkward",
    "uproot",
    "torch",
    "onnx",
    "onnxruntime",
    "pythia8mc",
    "fastjet",
)


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself; ``values`` is the whole of ``manifest.json``."""

    path: Path
    values: Mapping[str, Any]

    @property
    def bundle_id(self) -> str:
        """Hash of the bundle's payload: two bundles with one id score alike."""
        return str(self.values["bundle_id"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the scores; none where the identity is no task."""
        return tuple(self.values["class_names"])

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the tagger says of a jet: ``identity``, ``energy`` or both; older bundles know the first alone."""
        return tuple(self.values.get("tasks", ("identity",)))

    @property
    def recipe(self) -> ImageRecipe:
        """How constituents become what the network takes."""
        values = self.values
        steps, groom = read_preprocessing(values["preprocess"])
        return ImageRecipe(
            grid=grid_from_record(values["grid"]),
            channels=tuple(values["channels"]),
            steps=steps,
            groom=groom,
            jet_features=tuple(values["jet_features"]),
            radius=float(values["radius"]),
        )

    @property
    def training_ranges(self) -> Mapping[str, Mapping[str, float]]:
        """What the jets of the training were like: ``low, q01, median, q99, high`` of ``jet_pt`` … and ``reach``.

        Older bundles know the lowest and highest pT alone.
        """
        if "training_ranges" in self.values:
            return dict(self.values["training_ranges"])
        pt = self.values.get("training_pt")
        return {"jet_pt": {"low": float(pt[0]), "high": float(pt[1])}} if pt else {}

    @property
    def selection(self) -> Mapping[str, tuple[float | None, float | None]]:
        """Which jets the tagger was made for, as ``images.select`` of its study; older bundles do not say."""
        return {name: (low, high) for name, (low, high) in (self.values.get("selection") or {}).items()}


def find_bundle(address: str | os.PathLike[str]) -> Path:
    """The folder of a bundle, which may be registered: ``models:/study@champion`` is brought here first.

    Raises
    ------
    MissingExtraError
        For a registered one without MLflow.
    HepcnnError
        When the registry has no such model, or does not answer.
    """
    if not str(address).startswith(REGISTRY):
        return Path(address)
    # By name: who reads folders needs no registry, and nothing below `tracking` knows it.
    registry: Any = require("hepcnn.tracking.registry", extra="workflow")
    return Path(registry.find_bundle(str(address)))


def describe_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers, where they are installed."""
    versions = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def write_manifest(folder: Path, values: Mapping[str, Any]) -> Manifest:
    """Add the checksums of the payload and the bundle's id, and write ``manifest.json``."""
    checksums = {name: _sha256(folder / name) for name in PAYLOAD}
    head = {"format": FORMAT, "version": VERSION, "bundle_id": _identify(checksums), "checksums": checksums}
    rest = {key: value for key, value in values.items() if key not in (*head, DIGEST)}
    content = json.loads(json.dumps(head | rest | {"versions": describe_versions()}))
    manifest = Manifest(folder, content | {DIGEST: _digest(content)})
    (folder / MANIFEST).write_text(json.dumps(manifest.values, indent=1), encoding="utf-8")
    return manifest


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a bundle's manifest and check the bundle against it.

    Raises
    ------
    BundleError
        When the folder is no bundle, a file is missing or is not the one that was written, or the bundle was made by a
        newer hepcnn or with other preprocessing than this one does.
    """
    folder = Path(path)
    try:
        values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{folder}: not a bundle: cannot read {MANIFEST}: {error.strerror}") from error
    except ValueError as error:
        raise BundleError(f"{folder / MANIFEST}: not valid JSON: {error}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise BundleError(f"{folder / MANIFEST}: expected format '{FORMAT}'")
    missing = [key for key in REQUIRED if key not in values]
    if missing:
        raise BundleError(f"{folder / MANIFEST}: incomplete: no {', '.join(missing)}")
    if values["version"] > VERSION:
        raise BundleError(
            f"{folder}: bundle version {values['version']} is newer than this hepcnn {__version__} knows ({VERSION}): "
            f"it was made by hepcnn {values['versions'].get('hepcnn')}; install that or a later one"
        )
    if values["preprocess"]["version"] != PREPROCESS_VERSION:
        raise BundleError(
            f"{folder}: made with preprocessing version {values['preprocess']['version']}, this hepcnn does version "
            f"{PREPROCESS_VERSION}: scores would differ; train again, or use the hepcnn that made it "
            f"({values['versions'].get('hepcnn')})"
        )
    _check_contents(folder, values)
    return Manifest(folder, values)


def _check_contents(folder: Path, values: Mapping[str, Any]) -> None:
    # Bundles of hepcnn 0.1 before this key came have none.
    if values.get(DIGEST, _digest(values)) != _digest(values):
        raise BundleError(f"{folder / MANIFEST}: this manifest was changed after it was written (checksum differs)")
    if missing := [name for name in PAYLOAD if name not in values["checksums"]]:
        raise BundleError(f"{folder / MANIFEST}: no checksum for {', '.join(missing)}")
    if values["bundle_id"] != _identify(values["checksums"]):
        raise BundleError(f"{folder / MANIFEST}: the bundle's id does not fit its checksums")
    for name, expected in values["checksums"].items():
        if "/" in name or _sha256(folder / name) != expected:
            raise BundleError(f"{folder / name}: this file is not the one the bundle was made with (checksum differs)")


def read_payload(manifest: Manifest, name: str) -> bytes:
    """One file of a bundle, checked as it is in memory: nobody can exchange it between the check and its use.

    Raises
    ------
    BundleError
        When it is missing, or not the one that was written.
    """
    path = manifest.path / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: missing from the bundle: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != manifest.values["checksums"][name]:
        raise BundleError(f"{path}: this file is not the one the bundle was made with (checksum differs)")
    return content


def _digest(values: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest's values but this one, whatever the order of keys."""
    content = {key: value for key, value in values.items() if key != DIGEST}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _identify(checksums: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(checksums), sort_keys=True).encode()).hexdigest()[:16]


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path}: missing from the bundle: {error.strerror}") from error
