"""What a trained network looks at and has learnt: numbers and pictures from a bundle and images."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hepcnn import paths
from hepcnn.bundle import Manifest, read_manifest
from hepcnn.config import StudyConfig
from hepcnn.data.dataset import ImageDataset, add_pixels, read_columns
from hepcnn.errors import BundleError, InputError
from hepcnn.evaluation.plot_style import PlotStyle, use_style
from hepcnn.evaluation.plots import save_figure
from hepcnn.evaluation.report import Picture
from hepcnn.evaluation.summary import choose_background
from hepcnn.explain.scoring import make_log_odds, normalise_inputs
from hepcnn.stages.explain_pictures import CAPTIONS, TITLES, Subject, choose_jets, draw_subject
from hepcnn.stages.export import load_network
from hepcnn.stages.records import write_json
from hepcnn.stages.samples import LoadedSample

MAX_JETS, N_JETS_OF_STUDY = 1000, 400


def explain_bundle(
    bundle: str | os.PathLike[str],
    images: Sequence[Path],
    output: Path,
    *,
    signal: str = "",
    background: str = "",
    max_jets: int = MAX_JETS,
    n_smooth: int = 0,
    style: PlotStyle | None = None,
) -> dict[str, Any]:
    """Explain a bundle on the jets of images files.

    Parameters
    ----------
    bundle
        The trained tagger.
    images
        ``images.h5`` files made as those that it was trained on. Jets that it learnt from flatter it: others say more.
    output
        A folder; gets the pictures as PNG and PDF, and ``explain.json``.
    signal, background
        Classes to tell apart; by default the first that is not the background, and ``qcd``, else the first.
    max_jets
        At most so many jets, as evenly spread over classes as they allow, drawn at random.
    n_smooth
        Noisy copies for SmoothGrad; 0 takes the plain gradient.
    style
        Of the pictures.

    Returns
    -------
    dict
        What ``explain.json`` holds.

    Raises
    ------
    BundleError, InputError, EmptySampleError
        When the bundle is damaged, the images are others than it takes, or a class has too few jets.
    """
    manifest = read_manifest(bundle)
    if "identity" not in manifest.tasks:
        raise BundleError(f"{bundle}: this tagger tells no classes apart: there is no score to explain")
    columns, pixels = read_columns(images, class_names=manifest.class_names)
    _check_images(manifest, columns.attributes, images)
    chosen = choose_jets(columns.label, len(manifest.class_names), max_jets)
    dataset = add_pixels(columns.select(chosen), pixels, chosen)
    with use_style(style or PlotStyle()):
        return explain_dataset(bundle, dataset, output, signal=signal, background=background, n_smooth=n_smooth)


def explain_study(study: StudyConfig, sample: LoadedSample, output: Path, *, signal: str) -> dict[str, list[Picture]]:
    """Explain each network of a study, trained with the first seed, on some of the test jets.

    Parameters
    ----------
    study, sample
        The study, its taggers trained, and its jets.
    output
        A folder; gets ``explain_<tagger>/``.
    signal
        Class to tell from the background.

    Returns
    -------
    dict
        By tagger, pictures for the report.
    """
    root, test = paths.study_dir(study.results, study.study), sample.splits["test"]
    chosen = test[choose_jets(sample.dataset.label[test], len(study.class_names), N_JETS_OF_STUDY)]
    jets, background = sample.dataset.select(chosen), study.evaluation.background or ""
    found = {}
    for name in (name for name in study.models if "identity" in study.tasks_of(name)):
        folder, bundle = output / f"explain_{name}", paths.bundle(paths.run_dir(root, name, study.seeds[0]))
        told = explain_dataset(bundle, jets, folder, signal=signal, background=background)
        found[name] = [
            Picture(
                TITLES.get(stem, stem.replace("_", " ").capitalize()),
                CAPTIONS[stem],
                (folder / f"{stem}.png").read_bytes(),
            )
            for stem in told["pictures"]
            if stem != "average"  # the report shows those of all channels
        ]
    return found


def _check_images(manifest: Manifest, attributes: Mapping[str, Any], images: Sequence[Path]) -> None:
    for name in ("grid", "channels", "preprocess"):
        if attributes[name] != manifest.values[name]:
            raise InputError(
                f"{images[0]}: made with {name} {attributes[name]}, but this bundle takes {manifest.values[name]}"
            )


def explain_dataset(
    bundle: str | os.PathLike[str],
    dataset: ImageDataset,
    output: Path,
    *,
    signal: str = "",
    background: str = "",
    n_smooth: int = 0,
) -> dict[str, Any]:
    """Explain a bundle on jets in memory; see `explain_bundle`."""
    manifest = read_manifest(bundle)
    against = choose_background(dataset.class_names, background or None)
    wanted = signal or next(name for name in dataset.class_names if name != against)
    network = load_network(bundle)
    features = torch.from_numpy(dataset.stack_features(manifest.values["jet_features"]))
    images, standardised = normalise_inputs(network, torch.from_numpy(dataset.to_dense()), features)
    score = make_log_odds(network.model, dataset.class_names, signal=wanted, background=against)
    subject = Subject(score, images, standardised, dataset, wanted, against)
    output.mkdir(parents=True, exist_ok=True)
    numbers: dict[str, Any] = {
        "bundle_id": manifest.bundle_id,
        "model": manifest.values["model"],
        "signal": wanted,
        "background": against,
        "n_jets": {name: int((dataset.label == n).sum()) for n, name in enumerate(dataset.class_names)},
        "pictures": [],
    }
    for name, figure, told in draw_subject(subject, n_smooth):
        save_figure(figure, output / name)
        numbers["pictures"].append(name)
        numbers |= told
    write_json(output / "explain.json", _plain(numbers))
    return numbers


def _plain(value: Any) -> Any:
    """Values for JSON: arrays as lists of six digits, what is not a number as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
