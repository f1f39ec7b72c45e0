"""A published study on the real files: top tagging on the reference sample of the landscape (arXiv:1902.09914)."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepcnn import paths
from hepcnn.config import StudyConfig, parse_model, write_study
from hepcnn.errors import ConfigError, HepcnnError, InputError, did_you_mean
from hepcnn.evaluation.tables import TableRow
from hepcnn.io.inspect import inspect_file
from hepcnn.io.reader import plan_jets
from hepcnn.models.registry import list_models
from hepcnn.stages.comparison import compare_files
from hepcnn.stages.samples import convert_samples, open_sample
from hepcnn.stages.train import train_tagger
from hepcnn.training.loop import Listener

FILES: Mapping[str, tuple[str, int]] = {
    "train": ("train.h5", 1_211_000),
    "val": ("val.h5", 403_000),
    "test": ("test.h5", 404_000),
}
"""By split: the file's name and its number of jets."""

ORIGIN = "https://doi.org/10.5281/zenodo.2603256"
NETWORKS: Mapping[str, int] = {"landscape_cnn": 40, "landscape_resnext": 64}
"""The landscape's networks of jet images, and the pixels along each axis of theirs, over 1.6 in eta and phi."""
OTHER_PIXELS = 40

Display = Callable[[str, int], AbstractContextManager[Listener]]
"""What shows a training of a title and a number of epochs."""


@dataclass(frozen=True)
class Options:
    """What a trial does otherwise than the whole study; ``pixels`` 0 takes the landscape's."""

    models: tuple[str, ...] = ()
    n_trainings: int = 9
    epochs: int = 20
    batch_size: int = 512
    max_jets: int | None = None
    pixels: int = 0
    workers: int = 1
    device: str = "auto"


@dataclass(frozen=True)
class Reproduced:
    """A network's row as the landscape quotes it.

    ``accuracy`` and ``auc`` are those of the training with the median AUC, ``rejection`` at eps_s = 0.3 is the median,
    with the standard deviation of single trainings (None for one) and the statistical error (None for a limit).
    """

    name: str
    accuracy: float
    auc: float
    rejection: float
    err_seed: float | None
    err_stat: float | None
    is_lower_limit: bool
    n_trainings: int
    n_train: int
    n_test: int

    @property
    def is_complete(self) -> bool:
        """Whether it is about the whole test sample, up to some jets whose image is empty."""
        expected = FILES["test"][1]
        return abs(self.n_test - expected) <= 0.01 * expected

    def __str__(self) -> str:
        sign = "> " if self.is_lower_limit else ""
        errors = "" if self.err_seed is None else f" ± {self.err_seed:.0f} (seed)"
        errors += "" if self.err_stat is None else f" ± {self.err_stat:.0f} (stat)"
        trainings = "1 training" if self.n_trainings == 1 else f"{self.n_trainings} trainings"
        return (
            f"{self.name}: accuracy {self.accuracy:.3f}, AUC {self.auc:.4f}, 1/eps_b(eps_s=0.3) = {sign}"
            f"{self.rejection:.0f}{errors}; {trainings} on {self.n_train:,} jets, tested on {self.n_test:,}"
        )


def find_files(folder: Path) -> dict[str, Path]:
    """The three files of the reference sample.

    Raises
    ------
    InputError
        Naming all that are missing, what they hold and where they are to be had.
    """
    found = {split: folder / name for split, (name, _) in FILES.items()}
    missing = [split for split, path in found.items() if not path.is_file()]
    if missing:
        told = ", ".join(f"{FILES[split][0]} ({FILES[split][1]:,} jets)" for split in missing)
        raise InputError(f"{folder}: missing {told}; the top-tagging reference sample is to be had from {ORIGIN}")
    return found


def describe_files(files: Mapping[str, Path]) -> list[str]:
    """Say which files are not the reference sample, by their number of jets.

    Raises
    ------
    InputError
        When a file is not of its layout.
    """
    notes = []
    for split, path in files.items():
        if (inspect_file(path, count=False).schema or "").partition(":")[0] != "toptag":
            raise InputError(f"{path}: not laid out as the top-tagging reference sample, which is at {ORIGIN}")
        n_jets, expected = plan_jets(path, "toptag")[-1][1], FILES[split][1]
        if n_jets != expected:
            notes.append(f"{path} has {n_jets:,} jets, the reference sample {expected:,}: numbers are not comparable")
    return notes


def choose_models(wanted: Sequence[str]) -> list[str]:
    """The networks asked for, else those of the landscape that there are.

    Raises
    ------
    ConfigError
        For a network that does not exist; the message names those that do.
    """
    known = list_models()
    chosen = list(wanted) or [name for name in NETWORKS if name in known]
    if not chosen:
        wanted_here = " nor ".join(NETWORKS)
        raise ConfigError(f"this hepcnn has neither {wanted_here}; name others: {', '.join(known)}")
    for name in chosen:
        if name not in known:
            raise ConfigError(f"no network '{name}'{did_you_mean(name, known)}; there are {', '.join(known)}")
    return chosen


def make_studies(files: Mapping[str, Path], output: Path, options: Options) -> list[StudyConfig]:
    """One study for each size of images, with the official split."""
    by_pixels: dict[int, list[str]] = {}
    for name in choose_models(options.models):
        by_pixels.setdefault(options.pixels or NETWORKS.get(name, OTHER_PIXELS), []).append(name)
    return [_make_study(files, output, options, pixels, names) for pixels, names in by_pixels.items()]


def _make_study(
    files: Mapping[str, Path], output: Path, options: Options, pixels: int, models: Sequence[str]
) -> StudyConfig:
    paths_of_files = [str(path) for path in files.values()]
    content: dict[str, Any] = {
        "study": f"toptag_{pixels}x{pixels}",
        "results": str(output),
        "samples": {
            name: {"files": paths_of_files, "schema": "toptag", "label": {"name": "is_signal", "values": [value]}}
            for value, name in enumerate(("qcd", "top"))
        },
        "images": {
            "grid": {"n_eta": pixels, "n_phi": pixels, "half_width": 0.8},
            "channels": ["pt"],
            "preprocess": ["centre", "rotate", "flip", "normalise"],
            "jet_features": [],
        },
        "split": {"by_file": {split: [str(path)] for split, path in files.items()}, "max_jets": options.max_jets},
        "models": {name: {} for name in models},
        "baselines": [],
        "seeds": list(range(1, options.n_trainings + 1)),
        "training": {
            "epochs": options.epochs,
            "batch_size": options.batch_size,
            "jet_features": [],
            "device": options.device,
        },
        "evaluation": {"background": "qcd", "published": "toptag"},
    }
    return parse_model(StudyConfig, content, where="toptag")


def reproduce_toptag(
    data: Path, output: Path, *, options: Options, display: Display, say: Callable[[str], None]
) -> list[Reproduced]:
    """Run the landscape's networks of jet images on the reference sample, or go on with that.

    Parameters
    ----------
    data
        The folder of ``train.h5``, ``val.h5`` and ``test.h5``.
    output
        Gets a study for each size of images (images and runs), and ``comparison/`` with tables and a page.
    options
        What a trial does otherwise.
    display
        Shows a training.
    say
        Called with sentences on how it goes.

    Returns
    -------
    list
        One row a network.

    Raises
    ------
    HepcnnError
        When files are missing or are others, a network does not exist, or a stage fails.

    Notes
    -----
    Trainings that are finished are kept as long as the study's settings are the same.
    """
    files = find_files(data)
    studies = make_studies(files, output, options)
    for note in describe_files(files):
        say(note)
    for study in studies:
        _run_study(study, options, display, say)
    folders = [str(paths.study_dir(study.results, study.study)) for study in studies]
    (comparison,) = compare_files(folders, output / "comparison", background="qcd", published="toptag")
    n_train = {name: _count_train(study) for study in studies for name in study.models}
    return [make_row(row, n_train=n_train[row.name]) for row in comparison.rows]


def _run_study(study: StudyConfig, options: Options, display: Display, say: Callable[[str], None]) -> None:
    root = paths.study_dir(study.results, study.study)
    config = paths.effective_config(root)
    before = config.read_text(encoding="utf-8") if config.exists() else ""
    root.mkdir(parents=True, exist_ok=True)
    write_study(study, config)
    is_same = before == config.read_text(encoding="utf-8")
    if not _has_images(study):
        is_same = False
        for name in study.samples:
            say(f"{study.study}: making images of {name}")
            convert_samples(study, [name], paths.images(root, name), workers=options.workers)
    for model in study.models:
        for seed in study.seeds:
            run = paths.run_dir(root, model, seed)
            if is_same and paths.run_record(run).exists():
                say(f"{model} seed {seed}: trained before")
                continue
            with display(f"{model} seed {seed}", study.training.epochs) as listener:
                train_tagger(study, model, seed=seed, output=run, listener=listener)


def _has_images(study: StudyConfig) -> bool:
    try:
        sources = open_sample(study).columns.sources
    except HepcnnError:
        return False
    return all(Path(source["path"]).stat().st_size == source["size"] for source in sources)


def _count_train(study: StudyConfig) -> int:
    return sum(counts["train"] for counts in open_sample(study).counts.values())


def make_row(row: TableRow, *, n_train: int) -> Reproduced:
    """Quote a row as the landscape does: the training with the median AUC, and the median rejection."""
    auc, accuracy, rejection = (row.measurement(name) for name in ("auc", "accuracy", "rejection_0.3"))
    areas = auc.get("per_seed") or [auc["value"]]
    middle = sorted(range(len(areas)), key=areas.__getitem__)[(len(areas) - 1) // 2]
    return Reproduced(
        name=row.name,
        accuracy=(accuracy.get("per_seed") or [accuracy["value"]])[middle],
        auc=areas[middle],
        rejection=statistics.median(rejection.get("per_seed") or [rejection["value"]]),
        err_seed=rejection.get("err_seed"),
        err_stat=rejection.get("err_stat"),
        is_lower_limit=bool(rejection.get("is_lower_limit")),
        n_trainings=len(areas),
        n_train=n_train,
        n_test=row.metrics["n_signal"] + row.metrics["n_background"],
    )
