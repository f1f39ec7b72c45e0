from pathlib import Path

from hepcnn.batch.start import begin_run, end_run, name_executor, say_before_lock
from hepcnn.stages.code import ROOMS


def checkpoint_minutes(job):
    """How often a job saves its state."""
    if job.rule.name not in ("train", "control"):
        return 0.0
    return study.training_of(job.wildcards.model).checkpoint_minutes


# Jobs parse this file too; only who started them speaks.
if workflow.is_main_process:
    say_before_lock(Path.cwd())


# Before the first job, each time that there is one: what would end the study hours later, who works here, and whether the
# batch system can do what is asked. Not a rule, since Snakemake does not look for changes in whatever comes after a rule
# that runs.
onstart:
    from hepcnn.stages.examine import require_ready

    for line in require_ready(study, name_executor(workflow)):
        print(line, file=sys.stderr)
    begin_run(
        workflow,
        Path.cwd(),
        checkpoint_minutes=checkpoint_minutes,
        made_by=hash_config(study, *map(hash_code, ROOMS)),
    )


onsuccess:
    end_run(Path.cwd())


onerror:
    end_run(Path.cwd())
