from hepcnn.config.tasks import IDENTITY
from hepcnn.stages.plan import JOB_SHAPE, ensembles_of, gpus_of, job_shape

IMAGES = [paths.images(ROOT, sample) for sample in study.samples]
CARDS = [paths.data_card(images) for images in IMAGES]
# Of each model once, since a study may have a thousand trainings: what its result depends on, and how it lies on nodes.
TRAINING = {
    name: hash_config(
        study.training_of(name).describe_result(),
        study.models[name].model_dump(
            mode="json", exclude={"search", "training", "tasks"}
        ),
        study.split,
        study.evaluation.background,
        *(() if study.tasks_of(name) == IDENTITY else study.tasks_of(name)),
    )
    for name in study.models
}
GPUS = {name: gpus_of(study, name) for name in study.models}
SHAPES = {name: job_shape(study, name) for name in study.models}
WEIGHTS = hash_config(study.weights)
FIT = hash_config(study.split, study.evaluation.background)


def shape_of(key):
    """A resource of the job of a training."""
    return lambda w: SHAPES[w.model][key]


wildcard_constraints:
    model="|".join(study.models),
    baseline="|".join(study.baselines) or "none",
    seed=r"\d+",


def run_outputs(tagger):
    """What every run leaves, by name."""
    run = paths.run_dir(ROOT, tagger, "{seed}")
    return {
        name: getattr(paths, name)(run)
        for name in (
            "scores",
            "validation_scores",
            "metrics",
            "working_points",
            "run_record",
        )
    }


rule train:
    """Train one tagger with one seed. Its checkpoint is no output, so that a job that was killed can go on."""
    input:
        IMAGES,
    output:
        directory(paths.bundle(paths.run_dir(ROOT, "{model}", "{seed}"))),
        paths.history(paths.run_dir(ROOT, "{model}", "{seed}")),
        **run_outputs("{model}"),
    log:
        paths.logs(ROOT) / "train_{model}_seed{seed}.log",
    benchmark:
        paths.benchmark(ROOT, "train_{model}_seed{seed}")
    threads: 1
    resources:
        **{key: shape_of(key) for key in JOB_SHAPE},
        mem_mb=2000,
        request_gpus=lambda w: GPUS[w.model],
    params:
        settings=lambda w: (TRAINING[w.model], WEIGHTS),
        code=lambda w: hash_code("train"),
        run=lambda w, output: Path(output.scores).parent,
    shell:
        # The shell waits for the checkpoint that SIGTERM asks for, and tee for the last words about it.
        "trap : TERM USR1; OMP_NUM_THREADS={threads} {HEPCNN} train --config {CONFIG} --model {wildcards.model} --seed {wildcards.seed} --threads {threads}"
        " -o {params.run} 2>&1 | (trap '' TERM INT USR1; exec tee {log})"


CONTROLS = [
    paths.scores(paths.control_dir(ROOT, name, study.seeds[0]))
    for name in (study.models if study.evaluation.control else ())
]


rule control:
    """Train a network on two halves of the background, where there is nothing to find."""
    input:
        IMAGES,
    output:
        paths.scores(paths.control_dir(ROOT, "{model}", "{seed}")),
    log:
        paths.logs(ROOT) / "control_{model}_seed{seed}.log",
    benchmark:
        paths.benchmark(ROOT, "control_{model}_seed{seed}")
    threads: 1
    resources:
        mem_mb=2000,
        # One process, whatever the training itself has.
        gpu=lambda w: min(GPUS[w.model], 1),
        request_gpus=lambda w: min(GPUS[w.model], 1),
    params:
        settings=lambda w: TRAINING[w.model],
        code=lambda w: hash_code("control"),
        run=lambda w, output: Path(output[0]).parent,
    shell:
        # As in rule train.
        "trap : TERM USR1; OMP_NUM_THREADS={threads} {HEPCNN} control --config {CONFIG} --model {wildcards.model} --seed {wildcards.seed} --threads {threads}"
        " -o {params.run} 2>&1 | (trap '' TERM INT USR1; exec tee {log})"


rule baseline:
    """Fit one baseline on the same jets."""
    input:
        IMAGES,
    output:
        **run_outputs("{baseline}"),
    log:
        paths.logs(ROOT) / "baseline_{baseline}_seed{seed}.log",
    benchmark:
        paths.benchmark(ROOT, "baseline_{baseline}_seed{seed}")
    threads: 1
    resources:
        mem_mb=2000,
    params:
        settings=FIT,
        code=lambda w: hash_code("baseline"),
        run=lambda w, output: Path(output.scores).parent,
    shell:
        "OMP_NUM_THREADS={threads} {HEPCNN} baseline --config {CONFIG} --name {wildcards.baseline} --seed {wildcards.seed} -o {params.run}"
        " 2>&1 | tee {log}"


wildcard_constraints:
    ensemble="|".join(ensembles_of(study)) or "none",


rule ensemble:
    """All seeds of a tagger as one: the mean of their probabilities, measured on the same jets."""
    input:
        IMAGES,
        members=lambda w: [
            paths.bundle(paths.run_dir(ROOT, ensembles_of(study)[w.ensemble], seed))
            for seed in study.seeds
        ],
    output:
        directory(paths.bundle(paths.run_dir(ROOT, "{ensemble}", "{seed}"))),
        **run_outputs("{ensemble}"),
    log:
        paths.logs(ROOT) / "ensemble_{ensemble}_seed{seed}.log",
    benchmark:
        paths.benchmark(ROOT, "ensemble_{ensemble}_seed{seed}")
    threads: 1
    resources:
        mem_mb=2000,
    params:
        settings=hash_config(study.split, study.evaluation),
        code=lambda w: hash_code("ensemble"),
        run=lambda w, output: Path(output.scores).parent,
    shell:
        "OMP_NUM_THREADS={threads} {HEPCNN} ensemble {input.members} --config {CONFIG} --name {wildcards.ensemble} -o {params.run}"
        " 2>&1 | tee {log}"
