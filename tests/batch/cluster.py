"""A real Slurm on this machine: one controller and two nodes, all of them on the loopback address.

``python -m tests.batch.cluster start FOLDER`` and ``stop FOLDER``; needs root and the packages that ``INSTALL`` names.
The nodes claim more than the machine has, so that the shipped profile can be used as it is.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ETC = Path("/etc/slurm")
"""Not a folder of our own: the executor's job step drops SLURM_CONF from the environment of its programs."""
OURS = "# made by hepcnn's tests; may be deleted\n"
INSTALL = ["apt-get", "install", "-y", "--no-install-recommends", "slurm-wlm", "munge"]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
NODES = ("hep1", "hep2")
N_GPUS = 2
CONFIG = """ClusterName=hepcnn
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmdTimeout=20
KillWait=10
MinJobAge=7200
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes={names} Default=YES MaxTime=UNLIMITED State=UP
PartitionName=gpu Nodes={names} MaxTime=UNLIMITED State=UP
PartitionName=short Nodes={names} MaxTime=60 State=UP
"""


class CannotStartError(Exception):
    """Why there can be no Slurm here."""


def why_not() -> str:
    """Why this machine cannot run the tests' Slurm; empty if it can."""
    if not sys.platform.startswith("linux"):
        return "Slurm runs on Linux"
    if os.geteuid() != 0:
        return "starting a Slurm of one's own takes root"
    missing = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    if missing:
        return f"not installed: {', '.join(missing)} ({' '.join(INSTALL)})"
    conf = ETC / "slurm.conf"
    if conf.exists() and not conf.read_text().startswith(OURS):
        return f"{conf} is somebody else's"
    return ""


def search_path() -> str:
    """PATH with the folders of daemons, which a user's may lack."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def start(folder: Path) -> None:
    """Start munge, the controller and the nodes, and wait until they are idle.

    Raises
    ------
    CannotStartError
        With the end of the daemons' logs.
    """
    if reason := why_not():
        raise CannotStartError(reason)
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write_config(folder)
    _start_munge(folder)
    start_controller()
    for node in NODES:
        start_node(node)
    for _ in range(150):
        states = ask("sinfo", "-h", "-N", "-p", "cpu", "-o", "%t").split()
        if states == ["idle"] * len(NODES):
            return
        time.sleep(0.2)
    logs = "\n".join(path.read_text()[-1500:] for path in folder.glob("*.log"))
    stop(folder)
    raise CannotStartError(f"the nodes are not idle after 30 s:\n{logs}")


def _write_config(folder: Path) -> None:
    ETC.mkdir(exist_ok=True)
    host = socket.gethostname().split(".")[0]
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={17001 + number} CPUs=16 RealMemory=64000 "
        f"Gres=gpu:fake:{N_GPUS} State=UNKNOWN"
        for number, name in enumerate(NODES)
    )
    config = CONFIG.format(host=host, folder=folder, nodes=nodes, names=",".join(NODES), port=16817)
    (ETC / "slurm.conf").write_text(OURS + config)
    for number in range(N_GPUS):
        device = folder / f"fakegpu{number}"
        if not device.exists():
            os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))  # as /dev/null: a device must be a device
    (ETC / "gres.conf").write_text(f"{OURS}Name=gpu Type=fake File={folder}/fakegpu[0-{N_GPUS - 1}]\n")


def _start_munge(folder: Path) -> None:
    run = Path("/run/munge")  # its default place, where Slurm looks for it
    run.mkdir(exist_ok=True)
    run.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    files = [
        f"--{kind}-file={folder}/munge{end}" for kind, end in (("key", ".key"), ("pid", "d.pid"), ("log", "d.log"))
    ]
    daemon("munged", "--force", *files, f"--seed-file={folder}/munge.seed")


def start_controller() -> None:
    """Start slurmctld, which goes on with the jobs it knew."""
    daemon("slurmctld")


def start_node(name: str) -> None:
    """Start the slurmd of a node."""
    daemon("slurmd", "-N", name)


def daemon(*command: str) -> None:
    """Start a daemon, which goes into the background by itself."""
    done = subprocess.run(
        command, env=os.environ | {"PATH": search_path()}, capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        raise CannotStartError(f"{' '.join(command)}: {done.stderr}")


def ask(*command: str) -> str:
    """What a command of Slurm prints; nothing where it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout


def kill(pid_file: Path, kind: int = signal.SIGTERM, *, patience: float = 20.0) -> None:
    """End a daemon by the pid that it wrote, and wait until it is gone."""
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, kind)
    except (OSError, ValueError):
        return
    deadline = time.monotonic() + patience
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    if Path(f"/proc/{pid}").exists():
        os.kill(pid, signal.SIGKILL)


def stop(folder: Path) -> None:
    """Cancel all jobs, end the daemons and take the config away."""
    ids = ask("squeue", "-h", "-o", "%A").split()
    if ids:
        ask("scancel", "--full", *ids)
        time.sleep(1)
    for name in (*NODES, "slurmctld", "munged"):
        kill(folder / f"{name}.pid")
    for name in ("slurm.conf", "gres.conf"):
        path = ETC / name
        if path.exists() and path.read_text().startswith(OURS):
            path.unlink()


def main() -> None:
    """Start or stop."""
    action, folder = sys.argv[1], Path(sys.argv[2]).resolve()
    try:
        {"start": start, "stop": stop}[action](folder)
    except CannotStartError as error:
        sys.exit(str(error))
    if action == "start":
        print(ask("sinfo"))


if __name__ == "__main__":
    main()
