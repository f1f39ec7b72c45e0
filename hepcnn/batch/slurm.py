"""What a Slurm can do, and whether it can do what is asked of it: found before anything is submitted.

Slurm itself takes many a job that can never run and leaves it in the queue: one that is longer than its partition
allows, for instance.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hepcnn.batch.commands import ask, has_program, run_program
from hepcnn.doctor import Finding
from hepcnn.errors import BatchError, did_you_mean

STATUS_INTERVAL_S = 180
"""Snakemake's plugin may let so many seconds pass between two questions about its jobs."""
SINFO_FIELDS = "%R|%P|%a|%l|%c|%m|%G"
SIGNAL = re.compile(r"--signal=\S*@(\d+)")


@dataclass(frozen=True)
class Nodes:
    """One kind of node in a partition: per node CPUs, memory in MB, and GPUs by type."""

    cpus: int
    memory_mb: int
    gpus: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Partition:
    """A partition; ``minutes`` is its time limit, None for none."""

    name: str
    is_default: bool
    is_up: bool
    minutes: float | None
    nodes: tuple[Nodes, ...]


@dataclass(frozen=True)
class Request:
    """What one job asks for; ``gpus``, ``memory_mb`` and ``tasks`` are per node, zero where nothing is asked.

    ``checkpoint_minutes`` is how often the job saves its state, and ``options`` are others of sbatch.
    """

    what: str
    partition: str = ""
    minutes: float = 0.0
    memory_mb: int = 0
    cpus: int = 1
    gpus: int = 0
    gpu_type: str = ""
    nodes: int = 1
    tasks: int = 1
    checkpoint_minutes: float = 0.0
    options: tuple[str, ...] = ()


def read_minutes(text: str) -> float | None:
    """A time limit as Slurm prints it, ``days-hours:minutes:seconds``; None for no limit.

    Raises
    ------
    BatchError
        When it is no time.
    """
    if text in ("infinite", "UNLIMITED", "n/a"):
        return None
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if match is None:
        raise BatchError(f"Slurm gave the time limit '{text}', which is none that is known")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((24 * days + hours) * 60 + minutes) + seconds / 60


def read_gpus(text: str) -> dict[str, int]:
    """GPUs by type among generic resources, as in ``gpu:a100:4(S:0-1),nvme:1``; an untyped one is called ''."""
    found: dict[str, int] = {}
    for part in re.sub(r"\([^)]*\)", "", text).split(","):
        if match := re.fullmatch(r"gpu(?::([^:]+))?:(\d+)", part):
            found[match[1] or ""] = found.get(match[1] or "", 0) + int(match[2])
    return found


def read_partitions() -> dict[str, Partition]:
    """All partitions, by name.

    Raises
    ------
    BatchError
        When Slurm does not answer.
    """
    found: dict[str, Partition] = {}
    for line in ask(["sinfo", "--noheader", "--exact", f"--format={SINFO_FIELDS}"]).splitlines():
        name, starred, available, limit, cpus, memory, gres = line.strip().split("|")
        nodes = Nodes(int(cpus.rstrip("+")), int(memory.rstrip("+")), read_gpus(gres))
        before = found[name].nodes if name in found else ()
        found[name] = Partition(name, starred.endswith("*"), available == "up", read_minutes(limit), (*before, nodes))
    return found


def check_request(request: Request, partitions: dict[str, Partition]) -> str:
    """Why a job could not run, or would lose its work; empty if it can."""
    name = request.partition or next((p.name for p in partitions.values() if p.is_default), "")
    if name not in partitions:
        if not name:
            return "no slurm_partition is named, and this cluster has no default" + did_you_mean("", partitions)
        return f"no partition '{name}'{did_you_mean(name, partitions)}"
    partition = partitions[name]
    if not partition.is_up:
        return f"partition '{name}' is down"
    return _check_time(request, partition) or _check_nodes(request, partition)


def _check_time(request: Request, partition: Partition) -> str:
    minutes, often = request.minutes, request.checkpoint_minutes
    if partition.minutes is not None and minutes > partition.minutes:
        return (
            f"a run time of {minutes:g} minutes is above the limit of partition '{partition.name}', "
            f"{partition.minutes:g}: the job would wait for ever"
        )
    if not minutes:
        return ""
    lead = max((int(match[1]) for option in request.options if (match := SIGNAL.search(option))), default=0)
    if 60 * minutes <= lead:
        return f"a run time of {minutes:g} minutes leaves nothing before the signal {lead} s before its end"
    if often and minutes <= often:
        return (
            f"a run time of {minutes:g} minutes is not above training.checkpoint_minutes, {often:g}: a job that is "
            "killed may begin anew each time; raise the one or lower the other"
        )
    return ""


def _check_nodes(request: Request, partition: Partition) -> str:
    nodes = partition.nodes
    if request.gpus:
        kind = request.gpu_type
        nodes = tuple(node for node in nodes if _count_gpus(node, kind) >= request.gpus)
        if not nodes:
            asked = f"{request.gpus} GPU{'s' if request.gpus > 1 else ''}" + (f" of type '{kind}'" if kind else "")
            return f"no node of partition '{partition.name}' has {asked}: {_describe_gpus(partition)}"
    cpus = request.cpus * request.tasks
    if not (fits := [node for node in nodes if node.cpus >= cpus]):
        most = max(node.cpus for node in nodes)
        return f"no node of partition '{partition.name}' has {cpus} CPUs{_with(request)}: {most} at most (set-threads)"
    if not any(node.memory_mb >= request.memory_mb for node in fits):
        most = max(node.memory_mb for node in fits)
        return (
            f"no node of partition '{partition.name}' has {request.memory_mb} MB{_with(request)}: {most} at most "
            "(set-resources: mem_mb)"
        )
    return ""


def _with(request: Request) -> str:
    return f" beside {request.gpus} GPUs" if request.gpus else ""


def _count_gpus(node: Nodes, kind: str) -> int:
    return node.gpus.get(kind, 0) if kind else sum(node.gpus.values())


def _describe_gpus(partition: Partition) -> str:
    found = {", ".join(f"{n} {kind}".strip() for kind, n in node.gpus.items()) for node in partition.nodes if node.gpus}
    return f"they have {' or '.join(sorted(found))}" if found else "they have none"


def test_submission(request: Request) -> str:
    """Why sbatch would refuse a job, in its own words; empty if it would take it. Nothing is submitted."""
    command = ["sbatch", "--test-only", f"--cpus-per-task={request.cpus}", f"--nodes={request.nodes}"]
    command += [f"--ntasks-per-node={request.tasks}"]
    command += [f"--partition={request.partition}"] if request.partition else []
    command += [f"--time={max(int(request.minutes), 1)}"] if request.minutes else []
    command += [f"--mem={request.memory_mb}"] if request.memory_mb else []
    if request.gpus:
        command += [f"--gpus-per-node={request.gpu_type + ':' if request.gpu_type else ''}{request.gpus}"]
    done = run_program([*command, *request.options, "--wrap=true"])
    if done.returncode == 0:
        return ""
    # Versions differ in which of these they put in front.
    return " ".join(re.sub(r"sbatch: error:|allocation failure:", "", done.stderr).split())


def examine_slurm(requests: Iterable[Request] = ()) -> list[Finding]:
    """Look at the Slurm of this machine, and whether it can do what is asked.

    Parameters
    ----------
    requests
        Jobs to come; equal ones are looked at once.

    Returns
    -------
    list
        One finding for Slurm itself, one for its accounting, and one for each kind of job that it cannot run; a single
        one, not needed, where there is no Slurm.
    """
    if not has_program("sbatch"):
        return [Finding("Slurm", False, "no sbatch here: jobs cannot be submitted to Slurm from this machine", False)]
    try:
        version = ask(["sinfo", "--version"]).strip()
        partitions = read_partitions()
    except BatchError as error:
        return [Finding("Slurm", False, str(error))]
    told = ", ".join(f"{p.name}{' (default)' if p.is_default else ''}" for p in partitions.values())
    return [
        Finding("Slurm", bool(partitions), f"{version}, partitions {told or 'none'}"),
        _examine_accounting(),
        *_examine_requests(list(dict.fromkeys(requests)), partitions),
    ]


def has_accounting() -> bool:
    """Whether ``sacct`` is here and answers; its program comes with Slurm, whether there is accounting or not."""
    return has_program("sacct") and run_program(["sacct", "-X", "-n", "-S", "now"]).returncode == 0


def _examine_accounting() -> Finding:
    what = "Slurm accounting"
    if has_accounting():
        return Finding(what, True, "sacct answers: 'slurm-status-command: sacct' may be used", False)
    age = re.search(r"MinJobAge\s*=\s*(\d+)", ask(["scontrol", "show", "config"]))
    seconds = int(age[1]) if age else 0
    detail = f"no sacct: keep 'slurm-status-command: squeue'; Slurm forgets a job {seconds} s after its end (MinJobAge)"
    if seconds < STATUS_INTERVAL_S:
        detail += f", and Snakemake asks every {STATUS_INTERVAL_S} s at times: it may wait for one that is forgotten"
    return Finding(what, seconds >= STATUS_INTERVAL_S, detail, False)


def _examine_requests(requests: Sequence[Request], partitions: dict[str, Partition]) -> list[Finding]:
    findings = []
    for request in requests:
        reason = check_request(request, partitions) or test_submission(request)
        if reason:
            findings.append(Finding(request.what, False, reason))
    return findings
