rule check:
    """Ask for what would end the study hours later: extras, room, locks, files, credentials, scheduler, store."""
    output:
        paths.checked(ROOT),
    log:
        paths.logs(ROOT) / "check.log",
    # Where the workflow was called: from there jobs are submitted.
    localrule: True
    params:
        settings=hash_config(study),
    shell:
        "{HEPCNN} doctor --config {CONFIG} --before-run --executor {workflow.executor_plugin.name} -o {output} 2>&1 | tee {log}"
