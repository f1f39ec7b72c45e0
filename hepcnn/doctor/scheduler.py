"""Batch systems: which commands there are, whether they answer, and what follows for Snakemake's plugin."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib.util import find_spec

from hepcnn.doctor.commands import ask
from hepcnn.doctor.finding import Finding

SLURM, HTCONDOR = ("sbatch", "squeue", "scancel"), ("condor_submit", "condor_q", "condor_rm")
PLUGINS = {"slurm": "snakemake_executor_plugin_slurm", "htcondor": "snakemake_executor_plugin_htcondor"}


def examine_schedulers(executor: str = "", *, ask_slurm: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Slurm and HTCondor.

    Parameters
    ----------
    executor
        What the study is submitted with: ``slurm`` or ``htcondor``, which then has to work; empty: whatever is found.
    ask_slurm
        Says what Slurm itself answers; called where its commands are.
    """
    found = False
    for name, commands, examine in (("slurm", SLURM, ask_slurm), ("htcondor", HTCONDOR, _examine_htcondor)):
        there = [command for command in commands if shutil.which(command)]
        if executor not in ("", name) or not (there or executor):
            continue
        found = True
        if missing := [command for command in commands if command not in there]:
            mend = "submit from a login node of the cluster, or load its module"
            yield Finding(name, False, f"no {', '.join(missing)} on the PATH", executor == name, mend)
            continue
        yield _examine_plugin(name, is_needed=executor == name)
        for finding in examine():
            yield replace(finding, is_needed=finding.is_needed and executor == name)
    if not found and not executor:
        yield Finding("scheduler", True, "none here: studies run on this machine (workflow/profiles/default)", False)


def _examine_plugin(name: str, *, is_needed: bool) -> Finding:
    what = f"{name} plugin"
    if find_spec(PLUGINS[name]) is None:
        return Finding(what, False, "Snakemake cannot submit here", is_needed, f"pip install 'hepcnn[{name}]'")
    return Finding(what, True, PLUGINS[name].replace("_", "-"), is_needed)


def _examine_htcondor() -> Iterator[Finding]:
    answer = ask(["condor_q", "-totals"])
    if answer.is_good:
        yield Finding("htcondor", True, "the queue answers")
    else:
        mend = "is this a submit node, and is your token or ticket valid?"
        yield Finding("htcondor", False, f"condor_q: {answer.reason}", mend=mend)
    if not os.environ.get("CONDOR_CONFIG") and not os.path.exists("/etc/condor/condor_config"):  # noqa: PTH110
        mend = "set CONDOR_CONFIG to the pool's file, or to /dev/null to silence the warning"
        yield Finding("htcondor config", False, "none: the plugin warns at every call", False, mend)
