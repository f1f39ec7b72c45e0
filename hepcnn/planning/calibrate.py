"""A short calibration: a small copy of a study, whose stages are run and timed where nobody else looks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hepcnn import paths
from hepcnn.config import SampleConfig, StudyConfig, parse_model
from hepcnn.evaluation.plot_style import PlotStyle
from hepcnn.io.schema import GENERATED_SCHEMA, SHOWER_SCHEMA
from hepcnn.planning.calibration import Calibration, NetworkCost, Rate, SampleCost
from hepcnn.planning.clock import Clock, time_import
from hepcnn.planning.jets import choose_file, copy_often, generate_few
from hepcnn.planning.showers import generate_many
from hepcnn.stages.baseline import train_baseline
from hepcnn.stages.evaluate import evaluate_files
from hepcnn.stages.plan import count_wanted, runs_of
from hepcnn.stages.report import write_report
from hepcnn.stages.samples import convert_samples, open_sample
from hepcnn.stages.train import train_tagger
from hepcnn.tracking.sync import sync_study
from hepcnn.training.batch_size import DEFAULT
from hepcnn.training.fabric import make_fabric

N_STEPS, FEW_JETS, MORE_JETS = 6, 250, 1000
"""Steps of a network; jets of a class that baselines are fitted to, twice."""
Say = Callable[[str], None]


class _StepClock:
    """Hears a training, and notes when its steps and its epoch end."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.steps = clock, list[float]()
        self.validated = 0.0

    def on_step(self, **_: Any) -> None:
        """A batch is done."""
        self.steps.append(self.clock.now())

    def on_epoch(self, _: dict[str, float]) -> None:
        """An epoch is done and validated."""
        self.validated = self.clock.now()


def calibrate(study: StudyConfig, folder: Path, *, say: Say = lambda _: None) -> Calibration:
    """Measure what the stages of a study cost on this machine.

    Parameters
    ----------
    study
        The study; nothing of it is written.
    folder
        Where the calibration may write, some 100 MB; empty.
    say
        Hears what is being measured.

    Returns
    -------
    Calibration
        In processor seconds, which other work on the machine changes little; on a GPU in seconds of wall time.

    Raises
    ------
    HepcnnError
        As the stages do.

    Notes
    -----
    Generated samples are some 120 jets each, written 50 times over; of files, the smallest is read. Rates per jet are
    taken to be constant: a file with larger jets than the smallest takes longer.
    """
    notes: list[str] = []
    small, samples = _prepare(study, folder, say)
    networks = {name: _time_network(small, name, say, notes) for name in study.models}
    say("fitting baselines")
    baselines = {str(name): _time_baseline(small, name) for name in study.baselines}
    once = _time_rest(small.model_copy(update={"ensembles": False}), say)
    return Calibration(samples=samples, networks=networks, baselines=baselines, notes=notes, **once)


def _prepare(study: StudyConfig, folder: Path, say: Say) -> tuple[StudyConfig, dict[str, SampleCost]]:
    """The small study with its images, and what its samples cost."""
    generated: dict[str, tuple[Rate, float]] = {}
    samples, growth = {}, {}
    for name, sample in study.samples.items():
        if sample.particle is not None:
            say(f"generating a few showers of {name}")
            many, rate, size = generate_many(study, name, folder)
            generated[name] = (rate, size)
            samples[name] = SampleConfig(files=[str(many)], schema=SHOWER_SCHEMA)
            continue
        if sample.process is None:
            path, growth[name] = choose_file(study, name)
            samples[name] = sample.model_copy(update={"files": [path]})
            continue
        say(f"generating a few jets of {name}")
        few, rate, size = generate_few(study, name, folder)
        generated[name] = (rate, size)
        big = copy_often(few, folder / f"{name}.root")
        samples[name] = SampleConfig(files=[str(big)], schema=GENERATED_SCHEMA)
    largest = max(_batch_size(study, name) for name in study.models)
    config = study.model_dump(mode="json", by_alias=True, exclude_none=True) | {
        "study": "calibration",
        "results": str(folder / "results"),
        "samples": {name: sample.model_dump(by_alias=True, exclude_none=True) for name, sample in samples.items()},
        "seeds": study.seeds[:1],
        "ensembles": False,
        "tracking": {"uri": f"sqlite:///{folder / 'mlflow.db'}", "artifacts": str(folder / "artifacts")},
    }
    config["split"] |= {"by_file": None, "max_jets": -(-N_STEPS * largest // len(samples))}
    # Explanations are part of the report where there are few test jets, as there are here but not in the study.
    config["evaluation"] |= {"control": False, "published": None, "explain": bool(study.evaluation.explain)}
    small = parse_model(StudyConfig, config, where="the calibration's copy of the study")
    costs = {}
    for name in small.samples:
        say(f"converting {name}")
        convert, size, n_read, kept = _time_conversion(small, name)
        made = generated.get(name)
        n_jets = count_wanted(study, name) if made else n_read * growth[name]
        costs[name] = SampleCost(
            n_jets=n_jets,
            kept=kept,
            generate=made[0] if made else None,
            convert=convert,
            generated_bytes=made[1] if made else 0.0,
            image_bytes=size,
        )
    return small, costs


def _time_conversion(small: StudyConfig, name: str) -> tuple[Rate, float, int, float]:
    """What converting costs, bytes of a jet's images, the jets that were read, and which part of them got images."""
    output, clock = paths.images(paths.study_dir(small.results, small.study), name), Clock()
    began, seconds = time_import("hepcnn.stages.samples"), []
    # The first time, compiled loops are loaded; the second tells what the jets take.
    for _ in range(2):
        output.unlink(missing_ok=True)
        with clock.measure() as measured:
            card = convert_samples(small, [name], output)
        seconds += measured
    n_read, n_written = max(int(card["jets_read"]), 1), max(int(card["jets_written"]), 1)
    return (
        Rate(start=began + max(seconds[0] - seconds[1], 0.0), per_jet=seconds[1] / n_read),
        output.stat().st_size / n_written,
        n_read,
        n_written / n_read,
    )


def _batch_size(study: StudyConfig, name: str) -> int:
    size = study.training_of(name).batch_size
    return DEFAULT if size == "auto" else size


def _time_network(small: StudyConfig, name: str, say: Say, notes: list[str]) -> NetworkCost:
    """Train a network for one epoch of a few steps, and ship it, as the workflow does."""
    changed: dict[str, Any] = {"epochs": 1, "early_stopping": None, "batch_size": _batch_size(small, name)}
    wanted = small.training_of(name).device
    if wanted == "cuda" and not _has_gpu():
        changed["device"] = "cpu"
        notes.append(f"{name} is to train on a GPU, and there is none here: its times are those of the CPU")
    study = small.with_training(name, **changed)
    # Weights to start from change no rate.
    study.models[name] = study.models[name].model_copy(update={"start_from": None})
    on_gpu = make_fabric(study.training_of(name)).device.type == "cuda"
    say(f"training {name} for {N_STEPS} steps on the {'GPU' if on_gpu else 'CPU'}")
    counts = open_sample(study).counts
    n_train, n_val, n_test = (sum(jets[split] for jets in counts.values()) for split in ("train", "val", "test"))
    clock = Clock(wall=on_gpu)
    listener, output = (
        _StepClock(clock),
        paths.run_dir(paths.study_dir(study.results, study.study), name, study.seeds[0]),
    )
    with clock.measure() as whole:
        train_tagger(study, name, seed=study.seeds[0], output=output, listener=listener)
    steps = listener.steps
    n_timed = n_train * (len(steps) - 1) / len(steps)
    # The first step warms up. One alone has to do where there are no more jets.
    per_jet = (steps[-1] - steps[0]) / n_timed if len(steps) > 1 else whole[0] / n_train
    score = max(listener.validated - steps[-1], 0.0) / n_val
    rest = whole[0] - n_train * per_jet - (2 * n_val + n_test) * score
    return NetworkCost(
        start=time_import("hepcnn.stages.train") + max(rest, 0.0),
        train_per_jet=per_jet,
        score_per_jet=score,
        disk=sum(path.stat().st_size for path in output.rglob("*") if path.is_file()),
        uses_gpu=on_gpu,
    )


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _time_baseline(small: StudyConfig, name: str) -> Rate:
    """Fit a baseline to few jets, and to more."""
    seconds, n_train = [], []
    output = paths.run_dir(paths.study_dir(small.results, small.study), name, small.seeds[0])
    for most in (FEW_JETS, MORE_JETS):
        study = small.model_copy(update={"split": small.split.model_copy(update={"max_jets": most})})
        n_train.append(sum(jets["train"] for jets in open_sample(study).counts.values()))
        with Clock().measure() as measured:
            train_baseline(study, name, seed=small.seeds[0], output=output)
        seconds += measured
    # The same jets as the networks, for the comparison that follows.
    train_baseline(small, name, seed=small.seeds[0], output=output)
    per_jet = max(seconds[1] - seconds[0], 0.0) / max(n_train[1] - n_train[0], 1)
    start = max(seconds[0] - n_train[0] * per_jet, 0.0)
    return Rate(start=time_import("hepcnn.stages.baseline") + start, per_jet=per_jet)


def _time_rest(small: StudyConfig, say: Say) -> dict[str, float]:
    """Evaluate, track and report the small study: they depend on the number of jets but little."""
    root, clock, found = paths.study_dir(small.results, small.study), Clock(), {}
    scores = [paths.scores(paths.run_dir(root, name, seed)) for name, seed in runs_of(small)]
    style = PlotStyle(small.evaluation.style, small.evaluation.label)
    say("evaluating and reporting")
    steps: dict[str, tuple[Callable[[], Any], str]] = {
        "evaluate": (
            lambda: evaluate_files(
                scores, paths.summary_dir(root), background=small.evaluation.background, style=style
            ),
            "hepcnn.stages.evaluate",
        ),
        "track": (lambda: sync_study(small), "mlflow"),
        "report": (lambda: write_report(small, paths.report(root)), "hepcnn.stages.report"),
    }
    for name, (work, module) in steps.items():
        began = time_import(module)
        with clock.measure() as seconds:
            work()
        found[name] = began + seconds[0]
    return found
