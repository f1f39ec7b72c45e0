from hepcnn.stages.plan import (
    THREADS,
    conversion_settings,
    generation_settings,
    generator_of,
)

# What makes the jets or the showers of a sample.
CODE = {"jets": "generate", "showers": "showers"}


wildcard_constraints:
    sample="|".join(study.samples),


rule generate:
    """Make the jets or the showers of one class. Goes on from finished chunks after a stop."""
    output:
        paths.generated(ROOT, "{sample}"),
    log:
        paths.logs(ROOT) / "generate_{sample}.log",
    benchmark:
        paths.benchmark(ROOT, "generate_{sample}")
    # The number of workers does not change the jets; one class after the other keeps all cores busy to the end.
    threads: THREADS["generate"]
    resources:
        mem_mb=1500,
    params:
        settings=lambda w: hash_config(generation_settings(study, w.sample)),
        code=lambda w: hash_code(CODE[generator_of(study, w.sample)]),
        what=lambda w: generator_of(study, w.sample),
    shell:
        "{HEPCNN} generate {params.what} --config {CONFIG} --sample {wildcards.sample} --workers {threads} -o {output}"
        " 2>&1 | tee {log}"


def input_files(wildcards):
    """The user's files of a sample, or the one that is generated; addresses are left to hepcnn."""
    files = study.samples[wildcards.sample].files
    if files:
        return [path for path in files if "://" not in path]
    return paths.generated(ROOT, wildcards.sample)


rule convert:
    """Constituents to sparse images of one class, with a data card. Goes on from finished ranges after a stop."""
    input:
        input_files,
    output:
        images=paths.images(ROOT, "{sample}"),
        card=paths.data_card(paths.images(ROOT, "{sample}")),
    log:
        paths.logs(ROOT) / "convert_{sample}.log",
    benchmark:
        paths.benchmark(ROOT, "convert_{sample}")
    # As above: the number of workers does not change the images.
    threads: THREADS["convert"]
    resources:
        mem_mb=3000,
    params:
        settings=lambda w: hash_config(conversion_settings(study, w.sample)),
        code=lambda w: hash_code("convert"),
    shell:
        "{HEPCNN} convert --config {CONFIG} --sample {wildcards.sample} --workers {threads} -o {output.images}"
        " 2>&1 | tee {log}"
