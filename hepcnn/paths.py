"""Every output path of a study, as pure functions. The Snakefile and the stages ask here."""

import os
from pathlib import Path

IMAGES_SUFFIX = ".h5"


def study_dir(results: str, study: str) -> Path:
    """The folder of everything a study makes."""
    return Path(results) / study


def effective_config(root: Path) -> Path:
    """The config as it was used, with all defaults."""
    return root / "config.yaml"


def benchmark(root: Path, job: str) -> Path:
    """What Snakemake measured of one job: time, memory, processor."""
    return root / "benchmarks" / f"{job}.tsv"


def cost_plan(root: Path) -> Path:
    """What a study was expected to cost."""
    return root / "plan.json"


def generated(root: Path, sample: str) -> Path:
    """The generated jets of a sample."""
    return root / "generated" / f"{sample}.root"


def images(root: Path, sample: str) -> Path:
    """The sparse images of a sample."""
    return root / "images" / f"{sample}{IMAGES_SUFFIX}"


def data_card(images: Path) -> Path:
    """What is known of the jets of an images file, beside it."""
    return images.with_name(f"{images.stem}.card.json")


def parts(images: Path) -> Path:
    """The folder of the finished parts of an images file, until that is whole."""
    return images.with_name(f"{images.name}.parts")


def run_dir(root: Path, tagger: str, seed: int | str) -> Path:
    """The folder of one training of one tagger (or baseline)."""
    return root / tagger / f"seed{seed}"


def search_dir(root: Path, tagger: str) -> Path:
    """The folder of a search of a tagger's hyper-parameters; each trial is a run in it."""
    return root / f"search_{tagger}"


def control_dir(root: Path, tagger: str, seed: int | str) -> Path:
    """The folder of a tagger's training on two halves of the background."""
    return root / "control" / tagger / f"seed{seed}"


def others_dir(root: Path) -> Path:
    """The folder of samples that are only scored; each is laid out as a study of its name."""
    return root / "others"


def bundle(run: Path) -> Path:
    """The trained tagger of a run."""
    return run / "bundle"


def bundle_cache() -> Path:
    """Where bundles are kept that came from a registry on another machine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hepcnn" / "bundles"


def scores(run: Path) -> Path:
    """A run's scores on the test split."""
    return run / "scores.h5"


def validation_scores(run: Path) -> Path:
    """A run's scores on the validation split: they fix working points and the temperature."""
    return run / "scores_val.h5"


def corrections(folder: Path) -> Path:
    """The working points of a study as correctionlib JSON."""
    return folder / "corrections.json"


def metrics(folder: Path) -> Path:
    """The metrics of a run or of the whole study."""
    return folder / "metrics.json"


def working_points(folder: Path) -> Path:
    """The working points of a run or of the whole study."""
    return folder / "working_points.json"


def differences(folder: Path) -> Path:
    """How far taggers are apart on the same jets."""
    return folder / "differences.json"


def robustness(folder: Path) -> Path:
    """How cuts hold against the properties of jets, and what they do to the background's mass."""
    return folder / "robustness.json"


def response(folder: Path) -> Path:
    """How a tagger answers to changed images."""
    return folder / "response.json"


def checkpoint(run: Path) -> Path:
    """Where a training goes on from; not an output of the workflow, so that a failed job keeps it."""
    return run / "checkpoint.safetensors"


def rate_test(run: Path) -> Path:
    """Losses at learning rates that were tried."""
    return run / "lr_finder.json"


def history(run: Path) -> Path:
    """Losses and metrics per epoch."""
    return run / "history.json"


def run_record(run: Path) -> Path:
    """What the tracking will say of a run."""
    return run / "run.json"


def summary_dir(root: Path) -> Path:
    """Tables and plots over all taggers."""
    return root / "summary"


def pictures(folder: Path) -> Path:
    """Which pictures an evaluation drew into a folder, in the order of the report."""
    return folder / "pictures.json"


def tracked(root: Path) -> Path:
    """Which MLflow runs hold this study."""
    return root / "mlflow.json"


def report(root: Path) -> Path:
    """The report of the study."""
    return root / "report.html"


def logs(root: Path) -> Path:
    """What the stages said."""
    return root / "logs"


def stage_track(root: Path, stage: str, item: str) -> Path:
    """The folder of what is tracked of a stage that has no run folder of its own."""
    return root / "track" / (f"{stage}_{item}" if item else stage)
