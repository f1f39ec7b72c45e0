"""The whole study, from the generator or the user's files to the report. One config file decides everything."""

import sys

from hepcnn import paths
from hepcnn.config import StudyConfig, hash_config, parse_model, write_study
from hepcnn.stages.code import hash_code
from hepcnn.stages.plan import check_study

if not config:

    configfile: f"{workflow.basedir}/configs/demo.yaml"


study = parse_model(StudyConfig, config, where="config")
check_study(study)
ROOT = paths.study_dir(study.results, study.study)
CONFIG = write_study(study, paths.effective_config(ROOT))
# The interpreter that runs Snakemake has hepcnn; its `bin` need not be on the PATH.
HEPCNN = f"{sys.executable} -m hepcnn"


include: "workflow/rules/samples.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/robustness.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/batch.smk"


rule all:
    """Everything that a study promises."""
    default_target: True
    input:
        paths.report(ROOT),
    localrule: True
