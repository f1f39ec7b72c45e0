"""How a trained tagger answers to another detector: its test jets, changed and scored again."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn import paths
from hepcnn.config import StudyConfig
from hepcnn.data.dataset import ImageDataset, read_dataset
from hepcnn.errors import InputError
from hepcnn.evaluation.comparison import compare_auc, compare_rejection
from hepcnn.evaluation.curves import roc_of_sample
from hepcnn.evaluation.intervals import effective_size, measure_fraction
from hepcnn.evaluation.metrics import auc, rejection_at
from hepcnn.evaluation.samples import BinarySample, make_binary_sample
from hepcnn.evaluation.summary import choose_background, select_pair
from hepcnn.images.variations import Variation, make_variations
from hepcnn.io.scores import Scores
from hepcnn.stages.measure import make_scores
from hepcnn.stages.records import write_json
from hepcnn.stages.samples import open_sample
from hepcnn.tagger import Tagger

EPS_S = 0.5
BLOCK = 2048


def measure_response(
    study: StudyConfig,
    name: str,
    *,
    seed: int,
    output: Path,
    others: Mapping[str, Sequence[Path]] | None = None,
    images: Sequence[Path] = (),
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Score the test jets of a study as another detector would have seen them, and other samples if there are.

    Parameters
    ----------
    study, name, seed
        Which training; it must be done.
    output
        Gets ``response.json``.
    others
        By name the ``images.h5`` files of other samples of the same classes, such as those of another shower setting of
        the generator: all of their jets are scored. They must be made as the study's images are.
    images
        The study's ``images.h5`` files, if they are not in its folder.
    say
        Called with the name of each variation before it is scored.

    Returns
    -------
    dict
        ``{signal: {"nominal": …, "variations": {name: …}, "others": {name: …}}}`` with AUC, rejection at eps_s 0.5, and
        the efficiencies of the nominal cut; of variations also the changes with their paired errors, which are those of
        the same jets seen twice.

    Raises
    ------
    HepcnnError
        When the bundle or the images are missing, or do not fit together.
    """
    root = paths.study_dir(study.results, study.study)
    tagger = Tagger.load(paths.bundle(paths.run_dir(root, name, seed)))
    test = open_sample(study, images).read("test")
    variations = make_variations(tagger.recipe.grid, tagger.recipe.channels, tagger.recipe.steps)
    scored: dict[str, Scores] = {}
    for variation in (None, *variations):
        if say is not None and variation is not None:
            say(variation.about)
        values = score_varied(tagger, test, variation, seed=0)
        scored[variation.name if variation else ""] = make_scores(values, test, model=name, seed=seed)
    foreign: dict[str, Scores] = {}
    for other, files in (others or {}).items():
        dataset = read_dataset(files, class_names=study.class_names)
        if (dataset.channels, dataset.shape) != (test.channels, test.shape):
            raise InputError(
                f"{files[0]}: images of {dataset.shape} pixels with the channels {', '.join(dataset.channels)}, the "
                f"tagger was trained on {test.shape} with {', '.join(test.channels)}: convert with the study's config"
            )
        for what in ("grid", "preprocess"):
            if dataset.attributes[what] != test.attributes[what]:
                raise InputError(
                    f"{files[0]}: images made with {what} {dataset.attributes[what]}, the tagger was trained on "
                    f"{test.attributes[what]}: convert with the study's config"
                )
        foreign[other] = make_scores(score_varied(tagger, dataset, None, seed=0), dataset, model=name, seed=seed)
    against = choose_background(study.class_names, study.evaluation.background)
    found = {
        signal: _describe(scored, foreign, signal, against, {v.name: v.about for v in variations})
        for signal in study.class_names
        if signal != against
    }
    write_json(paths.response(output), found)
    return found


def score_varied(
    tagger: Tagger, dataset: ImageDataset, variation: Variation | None, *, seed: int
) -> NDArray[np.float32]:
    """Score jets after a variation of their images, (N, K)."""
    rng = np.random.default_rng(seed)
    names = list(tagger.recipe.jet_features)
    features = np.stack([dataset.features[n] for n in names], axis=1) if names else np.zeros((len(dataset), 0))
    if variation is not None:
        scale = [variation.feature_scale if n in ("pt", "mass") else 1.0 for n in names]
        features = features * np.array(scale, np.float32)
    parts = []
    for start in range(0, len(dataset), BLOCK):
        jets = np.arange(start, min(start + BLOCK, len(dataset)))
        dense = dataset.to_dense(jets)
        varied = dense if variation is None else variation.apply(dense, rng)
        parts.append(tagger.score_images(np.ascontiguousarray(varied, np.float32), features[jets].astype(np.float32)))
    return np.concatenate(parts)


def _describe(
    scored: Mapping[str, Scores], foreign: Mapping[str, Scores], signal: str, background: str, about: Mapping[str, str]
) -> dict[str, Any]:
    samples = {name: _sample(scores, signal, background) for name, scores in scored.items()}
    nominal = samples[""]
    cut = roc_of_sample(nominal).threshold_at(EPS_S)
    return {
        "background": background,
        "eps_s": EPS_S,
        "nominal": _measure(nominal, cut),
        "variations": {
            name: {"about": about[name]} | _measure(sample, cut) | _change(sample, nominal)
            for name, sample in samples.items()
            if name
        },
        "others": {name: _measure(_sample(scores, signal, background), cut) for name, scores in foreign.items()},
    }


def _sample(scores: Scores, signal: str, background: str) -> BinarySample:
    return make_binary_sample(*select_pair(scores, signal=signal, background=background)[:3])


def _measure(sample: BinarySample, cut: float) -> dict[str, Any]:
    arrays = sample.score, sample.is_signal, sample.weight
    found: dict[str, Any] = {
        "auc": auc(*arrays).to_dict(),
        "rejection": rejection_at(*arrays, eps_s=EPS_S).to_dict(),
    }
    for name, (score, weight) in (("eps_s_at_cut", sample.signal), ("eps_b_at_cut", sample.background)):
        fraction = float(weight[score >= cut].sum() / weight.sum())
        found[name] = measure_fraction(fraction, effective_size(weight)).to_dict()
    return found


def _change(sample: BinarySample, nominal: BinarySample) -> dict[str, Any]:
    shared = nominal.is_signal, nominal.weight
    differences = {
        "auc_change": compare_auc(sample.score, nominal.score, *shared),
        "rejection_change": compare_rejection(sample.score, nominal.score, *shared, eps_s=EPS_S),
    }
    return {
        name: {"value": d.value, "err_stat": d.err_stat if np.isfinite(d.err_stat) else None}
        for name, d in differences.items()
    }


def read_others(texts: Sequence[str]) -> dict[str, list[Path]]:
    """Samples named like ``herwig=qcd.h5,top.h5``.

    Raises
    ------
    InputError
        For a text of another form, or a name given twice.
    """
    found: dict[str, list[Path]] = {}
    for text in texts:
        name, _, files = text.partition("=")
        if not name or not files or name in found:
            raise InputError(f"--other {text}: expected NAME=FILE,FILE… with a name of its own")
        found[name] = [Path(path) for path in files.split(",") if path]
    return found


def describe_response(found: Mapping[str, Any]) -> str:
    """What `measure_response` found as a Markdown table."""
    lines = []
    for signal, response in found.items():
        title = f"{signal} against {response['background']}"
        lines += [f"| {title} | AUC | change | rejection | eps_s at cut | eps_b at cut |", "| --- " * 6 + "|"]
        rows = {"nominal": response["nominal"]}
        rows |= {one["about"]: one for one in response["variations"].values()} | response["others"]
        for name, row in rows.items():
            change = row.get("auc_change")
            changed = f"{change['value']:+.4f} ± {change['err_stat'] or 0:.4f}" if change else ""
            numbers = [f"{row[key]['value']:.4g}" for key in ("rejection", "eps_s_at_cut", "eps_b_at_cut")]
            if row["rejection"].get("is_lower_limit"):
                numbers[0] = f"> {numbers[0]}"
            lines.append(f"| {name} | {row['auc']['value']:.4f} | {changed} | " + " | ".join(numbers) + " |")
        lines.append("")
    return "\n".join(lines)
