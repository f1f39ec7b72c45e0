rule generate:
    """Make the jets of one class: Pythia 8, detector, anti-kt. Goes on from finished chunks after a stop."""
    output:
        paths.generated(ROOT, "{sample}"),
    log:
        paths.logs(ROOT) / "generate_{sample}.log",
    # The number of workers does not change the jets; one class after the other keeps all cores busy to the end.
    threads: 2
    resources:
        mem_mb=1500,
    params:
        settings=lambda w: hash_config(study.generate, study.samples[w.sample]),
    shell:
        "{HEPCNN} generate jets --config {CONFIG} --sample {wildcards.sample} --workers {threads} -o {output}"
        " 2>&1 | tee {log}"


def input_files(wildcards):
    """The user's files of a sample, or the one that is generated."""
    return study.samples[wildcards.sample].files or paths.generated(
        ROOT, wildcards.sample
    )


rule convert:
    """Constituents to centred, rotated, flipped, normalised sparse images of one class."""
    input:
        input_files,
    output:
        paths.images(ROOT, "{sample}"),
    log:
        paths.logs(ROOT) / "convert_{sample}.log",
    resources:
        mem_mb=1500,
    params:
        settings=lambda w: hash_config(
            study.images, study.samples[w.sample].schema_name, study.class_names
        ),
    shell:
        "{HEPCNN} convert --config {CONFIG} --sample {wildcards.sample} -o {output} 2>&1 | tee {log}"
