# Before the first job, each time that there is one: what would end the study hours later. Not a rule, since Snakemake
# does not look for changes in whatever comes after a rule that runs.
onstart:
    from hepcnn.stages.examine import require_ready

    for line in require_ready(study, workflow.executor_plugin.name):
        print(line, file=sys.stderr)
