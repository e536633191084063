"""A real Slurm of two nodes on this machine, in a temporary folder: own munge, controller and two slurmd.

Three partitions share the nodes: `train` (default, low tier, jobs are requeued after a notice of `NOTICE_S`),
`scavenge` (the same without notice) and `urgent` (high tier, pre-empts). Needs the Debian packages slurm-wlm
and munge; runs as root or as any user, and touches nothing outside its folder. Ports are picked free, so that
several clusters can live side by side.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo")
NODES = ("n1", "n2")
NOTICE_S = 60
"""Seconds between the notice of pre-emption and the end of the job, as GraceTime."""
_ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL")


def missing() -> list[str]:
    """Programs of Slurm that this machine lacks; empty when a cluster can start."""
    return [name for name in DAEMONS if _which(name) is None]


class Cluster:
    """A context manager: entering waits until both nodes are idle, leaving ends every job and daemon."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.env = clean_environment() | {"SLURM_CONF": str(folder / "slurm.conf")}

    def __enter__(self) -> Cluster:
        try:
            self._start()
        except BaseException:
            self._end_daemons()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def run(self, *command: str) -> str:
        """Standard output of a Slurm command, such as `run("scontrol", "show", "nodes")`."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def submit(self, *arguments: str, cwd: Path) -> str:
        """`sbatch` from a folder; the id of the job."""
        return self.run("sbatch", "--parsable", f"--chdir={cwd}", *arguments).partition(";")[0]

    def job(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says now, key by key."""
        words = self.run("scontrol", "--oneliner", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait_ended(self, job: str, seconds: float) -> dict[str, str]:
        """Facts of the job once it has ended for good."""
        self.wait(lambda: self.job(job)["JobState"] in _ENDED, f"job {job} to end", seconds)
        return self.job(job)

    def wait(self, ready: Callable[[], bool], what: str, seconds: float, every: float = 0.2) -> None:
        """Ask `ready()` until it is so; an AssertionError with the queue when time is up."""
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                queue = self.run("squeue", "--all", "--format=%i %P %j %T %r %N")
                raise AssertionError(f"waited {seconds:.0f} s for {what}; the queue:\n{queue}")
            time.sleep(every)

    def cancel_all(self) -> None:
        """End every job at once, and wait until the nodes are free."""
        user = getpass.getuser()
        for how in (("--signal=KILL",), ()):
            command = ["scancel", "--quiet", "--user", user, *how]
            subprocess.run(command, env=self.env, capture_output=True, timeout=30)
        self.wait(self._idle, "the nodes to be free", 30)

    def _start(self) -> None:
        for name in ("state", *(f"spool/{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        (self.folder / "slurm.conf").write_text(self._configuration())
        # slurmd loads a cgroup plugin even if nothing uses it; this one asks for no mounted cgroups, which a
        # container may lack.
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        self._spawn(
            "munged", "--foreground", "--force", f"--socket={self._munge_socket}", f"--key-file={key}",
            f"--pid-file={self.folder}/munged.pid", f"--log-file={self.folder}/munged.log",
            f"--seed-file={self.folder}/munged.seed",
        )  # fmt: skip
        self._wait_for(self._munge_socket.exists, "munged")
        self._spawn("slurmctld", "-D", "-i")
        for node in NODES:
            self._spawn("slurmd", "-D", "-N", node)
        self._wait_for(self._idle, "the nodes to be idle")

    def _stop(self) -> None:
        """Jobs first: a step outlives its slurmd."""
        try:
            self.cancel_all()
        finally:
            self._end_daemons()

    def _end_daemons(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()

    def _spawn(self, name: str, *arguments: str) -> None:
        program = _which(name)
        assert program is not None, f"{name} is not installed"
        with (self.folder / f"{name}-{len(self._daemons)}.out").open("wb") as out:
            self._daemons.append(
                subprocess.Popen(
                    [program, *arguments], env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
                )
            )

    def _wait_for(self, ready: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + 60
        while not ready():
            dead = [daemon.args for daemon in self._daemons if daemon.poll() is not None]
            if dead or time.monotonic() > end:
                logs = {
                    p.name: p.read_text()[-2000:]
                    for p in self.folder.iterdir()
                    if p.suffix in (".log", ".out")
                }
                told = "\n".join(f"--- {name}\n{text}" for name, text in sorted(logs.items()) if text)
                raise RuntimeError(f"{what}: {'ended: ' + str(dead) if dead else 'not within 60 s'}\n{told}")
            time.sleep(0.1)

    def _idle(self) -> bool:
        states = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--partition=train", "--format=%T"],
            env=self.env, capture_output=True, text=True, timeout=60,
        ).stdout.split()  # fmt: skip
        return states == ["idle"] * len(NODES)

    @property
    def _munge_socket(self) -> Path:
        return self.folder / "munge.socket"

    def _configuration(self) -> str:
        """A slurm.conf.

        `cred_expire=5` lets a requeued job start within seconds, not after two minutes. The launchers derive
        a port from the number of a job: to begin anywhere keeps two clusters on one machine apart.
        """
        user, folder = getpass.getuser(), self.folder
        controller, *ports = _free_ports(1 + len(NODES))
        nodes = "\n".join(
            f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000"
            for node, port in zip(NODES, ports, strict=True)
        )
        return f"""\
ClusterName=mien
FirstJobId={1 + secrets.randbelow(19_000)}
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={self._munge_socket},cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=30
ReturnToService=2
{nodes}
PartitionName=train Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime={NOTICE_S}
PartitionName=scavenge Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""


def clean_environment() -> dict[str, str]:
    """This process's environment less what an outer Slurm job or torchrun would leak into the jobs."""
    leaks = ("SLURM", "SBATCH_", "SRUN_", "PMI", "MASTER_", "MIEN_", "TORCHELASTIC_")
    return {key: value for key, value in os.environ.items() if not key.startswith(leaks)}


def _which(name: str) -> str | None:
    """Debian keeps the daemons in sbin, which a plain user's PATH lacks."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
