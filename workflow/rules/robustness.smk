import shlex

from hepcnn.stages.plan import generation_settings, generator_of, others_of

OTHERS = others_of(study)
for name, other in OTHERS.items():
    write_study(
        other, paths.effective_config(paths.study_dir(other.results, other.study))
    )
OTHER = paths.study_dir(paths.others_dir(ROOT), "{other}")


def other_root(wildcards):
    """The folder of a sample that is only scored."""
    return paths.study_dir(paths.others_dir(ROOT), wildcards.other)


# The first training of each network, and the ensemble of all.
RESPONSES = [
    paths.response(paths.run_dir(ROOT, name, study.seeds[0]))
    for name in (
        [*study.models, *ensembles_of(study)] if study.evaluation.robustness else ()
    )
]


wildcard_constraints:
    other="|".join(OTHERS) or "none",
    tagger="|".join([*study.models, *ensembles_of(study)]),


rule generate_other:
    """Make jets or showers of one class that are only scored, such as those of another preset; as rule generate."""
    output:
        paths.generated(OTHER, "{sample}"),
    log:
        paths.logs(ROOT) / "generate_{other}_{sample}.log",
    threads: 2
    resources:
        mem_mb=1500,
    params:
        settings=lambda w: hash_config(generation_settings(OTHERS[w.other], w.sample)),
        code=lambda w: hash_code(CODE[generator_of(OTHERS[w.other], w.sample)]),
        what=lambda w: generator_of(OTHERS[w.other], w.sample),
        config=lambda w: paths.effective_config(other_root(w)),
    shell:
        "{HEPCNN} generate {params.what} --config {params.config} --sample {wildcards.sample} --workers {threads}"
        " -o {output} 2>&1 | tee {log}"


def other_files(wildcards):
    """The user's files of a sample that is only scored, or the one that is generated."""
    files = OTHERS[wildcards.other].samples[wildcards.sample].files
    if files:
        return [path for path in files if "://" not in path]
    return paths.generated(other_root(wildcards), wildcards.sample)


rule convert_other:
    """The same images of jets that are only scored; as rule convert."""
    input:
        other_files,
    output:
        images=paths.images(OTHER, "{sample}"),
        card=paths.data_card(paths.images(OTHER, "{sample}")),
    log:
        paths.logs(ROOT) / "convert_{other}_{sample}.log",
    threads: 2
    resources:
        mem_mb=3000,
    params:
        settings=lambda w: hash_config(conversion_settings(OTHERS[w.other], w.sample)),
        code=lambda w: hash_code("convert"),
        config=lambda w: paths.effective_config(other_root(w)),
    shell:
        "{HEPCNN} convert --config {params.config} --sample {wildcards.sample} --workers {threads} -o {output.images}"
        " 2>&1 | tee {log}"


OTHER_IMAGES = {
    name: [
        str(paths.images(paths.study_dir(other.results, name), sample))
        for sample in study.samples
    ]
    for name, other in OTHERS.items()
}


rule robustness:
    """Score test jets as another detector would see them, and the jets of other samples."""
    input:
        IMAGES,
        *OTHER_IMAGES.values(),
        bundle=paths.bundle(paths.run_dir(ROOT, "{tagger}", "{seed}")),
    output:
        paths.response(paths.run_dir(ROOT, "{tagger}", "{seed}")),
    log:
        paths.logs(ROOT) / "robustness_{tagger}_seed{seed}.log",
    threads: 1
    resources:
        mem_mb=2000,
    params:
        settings=hash_config(study.split, study.evaluation.background),
        others=" ".join(
            shlex.quote(f"--other={name}={','.join(files)}")
            for name, files in OTHER_IMAGES.items()
        ),
        code=lambda w: hash_code("robustness"),
        run=lambda w, output: Path(output[0]).parent,
    shell:
        "OMP_NUM_THREADS={threads} {HEPCNN} robustness --config {CONFIG} --model {wildcards.tagger} --seed {wildcards.seed} {params.others}"
        " -o {params.run} 2>&1 | tee {log}"
