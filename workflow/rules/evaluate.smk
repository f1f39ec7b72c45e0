from hepcnn.stages.plan import runs_of

RUNS = [paths.run_dir(ROOT, name, seed) for name, seed in runs_of(study)]


rule evaluate:
    """Compare all taggers on the same test jets: metrics, tables, plots."""
    input:
        scores=[paths.scores(run) for run in RUNS],
        records=[paths.run_record(run) for run in RUNS],
        controls=CONTROLS,
    output:
        paths.metrics(paths.summary_dir(ROOT)),
        paths.working_points(paths.summary_dir(ROOT)),
    log:
        paths.logs(ROOT) / "evaluate.log",
    benchmark:
        paths.benchmark(ROOT, "evaluate")
    resources:
        mem_mb=1500,
    params:
        background=(
            f"--background {study.evaluation.background}"
            if study.evaluation.background
            else ""
        ),
        controls=" ".join(f"--control {path}" for path in CONTROLS),
        style=f"--style {study.evaluation.style} --experiment-label {shlex.quote(study.evaluation.label)}",
        summary=paths.summary_dir(ROOT),
        code=lambda w: hash_code("evaluate"),
    shell:
        "{HEPCNN} evaluate {input.scores} {params.background} {params.controls} {params.style} -o {params.summary} 2>&1 | tee {log}"


rule track:
    """Bring the finished runs to MLflow, in one process; or later, if the store does not answer."""
    input:
        [paths.run_record(run) for run in RUNS],
        CARDS,
        paths.metrics(paths.summary_dir(ROOT)),
    output:
        paths.tracked(ROOT),
    log:
        paths.logs(ROOT) / "track.log",
    benchmark:
        paths.benchmark(ROOT, "track")
    # Where the workflow was called: there is the network that a tracking server may need.
    localrule: True
    resources:
        mem_mb=1500,
    params:
        settings=hash_config(study.tracking),
    shell:
        "{HEPCNN} track sync --or-later --config {CONFIG} 2>&1 | tee {log}"


rule report:
    """One page that says what was run and what came out."""
    input:
        IMAGES,
        CARDS,
        paths.metrics(paths.summary_dir(ROOT)),
        paths.tracked(ROOT),
        RESPONSES,
    output:
        paths.report(ROOT),
    log:
        paths.logs(ROOT) / "report.log",
    localrule: True
    threads: 1
    resources:
        mem_mb=3000,
    params:
        settings=hash_config(study.evaluation),
    shell:
        "OMP_NUM_THREADS={threads} {HEPCNN} report --config {CONFIG} -o {output} 2>&1 | tee {log}"
