"""A trained tagger as a folder: ``config.yaml``, ``weights.safetensors``, ``model.onnx``, ``manifest.json``.

Nothing in it is executed or unpickled, so a bundle from a stranger can be loaded. No torch is imported here.
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

from hepcnn.errors import BundleError
from hepcnn.images.grids import grid_from_record
from hepcnn.images.preprocess import VERSION as PREPROCESS_VERSION
from hepcnn.images.preprocess import read_preprocessing
from hepcnn.images.recipe import ImageRecipe

FORMAT, VERSION = "hepcnn-bundle", 1
MANIFEST, MODEL, WEIGHTS, CONFIG = "manifest.json", "model.onnx", "weights.safetensors", "config.yaml"
PAYLOAD = (MODEL, WEIGHTS, CONFIG)
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
        """The classes, in the order of the scores."""
        return tuple(self.values["class_names"])

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
    bundle_id = hashlib.sha256(json.dumps(checksums, sort_keys=True).encode()).hexdigest()[:16]
    head = {"format": FORMAT, "version": VERSION, "bundle_id": bundle_id, "checksums": checksums}
    manifest = Manifest(
        folder, head | {k: v for k, v in values.items() if k not in head} | {"versions": describe_versions()}
    )
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
        raise BundleError(f"{folder}: bundle version {values['version']} is newer than this hepcnn knows ({VERSION})")
    if values["preprocess"]["version"] != PREPROCESS_VERSION:
        raise BundleError(
            f"{folder}: made with preprocessing version {values['preprocess']['version']}, this hepcnn does version "
            f"{PREPROCESS_VERSION}: scores would differ; train again, or use the hepcnn that made it "
            f"({values['versions'].get('hepcnn')})"
        )
    for name, expected in values["checksums"].items():
        if _sha256(folder / name) != expected:
            raise BundleError(f"{folder / name}: this file is not the one the bundle was made with (checksum differs)")
    return Manifest(folder, values)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path}: missing from the bundle: {error.strerror}") from error
