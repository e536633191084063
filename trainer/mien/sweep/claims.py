"""Who works on which trial: claims that two workers never hold at once and that a dead one loses.

    claims/0003-00.json     the first claim on trial 3, made by a hard link, which only one worker can make
    claims/0003-00.trial    the process that trains, while it does
    claims/0003-00.beat     a number that the worker raises while it lives
    claims/0003-00.free     the worker gave the trial back, after a stop signal for instance
    claims/0003-01.json     the next claim: only the newest counts

A claim is held as long as its holder lives. That of a Slurm job lives while the job is queued or runs, so a
pre-empted task finds its own trial again; one that Slurm no longer has is dead after a while, since Slurm may
lose sight of a task while it is requeued. A process of this machine lives while its pid and time of birth
are those noted. Any other one lives while its beat changes, which is measured on the watcher's own clock:
neither a jump of a clock nor the difference between two clocks frees a trial.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.engine.rundir import process_birth, write_atomic
from mien.engine.signals import job_id
from mien.errors import RunError

LEASE_S = 90.0
"""Seconds without a beat after which the worker of another machine counts as dead."""
BEAT_S = 15.0
"""Seconds between two beats."""
GONE_S = 60.0
"""Seconds for which Slurm must not have a job before its trial goes to another."""
# Not among them: what a job passes through on its way back into the queue, such as PREEMPTED and NODE_FAIL.
_ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT"}
_NAME = re.compile(r"(\d{4,})-(\d{2,})\.json")


@dataclass(frozen=True)
class Claim:
    """One worker's hold on one trial."""

    trial: int
    generation: int
    """How many claims on the trial came before."""
    holder: dict[str, Any]
    """`host`, `pid`, `born`, and `job` under Slurm."""

    @property
    def stem(self) -> str:
        """Name of its files without the ending."""
        return f"{self.trial:04d}-{self.generation:02d}"


class Claims:
    """The claims of one sweep, seen by one worker.

    Args:
        folder: where they lie; made if absent.
        queued: asks Slurm whether a job is queued or runs; None if that cannot be known. Replaced in tests.
    """

    def __init__(self, folder: Path, queued: Callable[[str], bool | None] | None = None) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._queued = queued or in_queue
        self._seen: dict[str, tuple[str, float]] = {}
        self._gone: dict[str, float] = {}
        self._beats = 0

    def newest(self, trial: int) -> Claim | None:
        """The claim on a trial that counts."""
        found = [_NAME.fullmatch(file.name) for file in self.folder.glob(f"{trial:04d}-*.json")]
        generation = max((int(match[2]) for match in found if match), default=None)
        return None if generation is None else self._read(trial, generation)

    def take(self, trial: int, me: Mapping[str, Any]) -> Claim | None:
        """Claim a trial that nobody holds, or that `me`, a Slurm job, holds already.

        Returns:
            The claim; None if somebody else holds the trial, was quicker, or may still live.
        """
        last = self.newest(trial)
        if last is not None:
            if (
                me.get("job")
                and last.holder.get("job") == me["job"]
                and not self._file(last, "free").exists()
            ):
                return last
            if self.held(last) is not False:
                return None
        claim = Claim(trial, 0 if last is None else last.generation + 1, dict(me))
        aside = self.folder / f".{secrets.token_hex(8)}.tmp"
        write_atomic(aside, json.dumps(claim.holder) + "\n")
        try:
            os.link(aside, self._file(claim, "json"))
        except FileExistsError:
            return None
        finally:
            aside.unlink()
        return claim

    def held(self, claim: Claim, patience: float = GONE_S) -> bool | None:
        """Whether the holder still lives; None while that is being watched.

        Args:
            claim: a newest one.
            patience: seconds for which Slurm must not have the holder's job.
        """
        if self._file(claim, "free").exists():
            return False
        job = claim.holder.get("job")
        if job is not None:
            return self._in_queue_lately(str(job), patience)
        if claim.holder.get("host") == host():
            return _lives(claim.holder) or _lives(self._json(claim, "trial"))
        return self._beats_on(claim)

    def beat(self, claim: Claim) -> None:
        """Show that the worker lives."""
        self._beats += 1
        write_atomic(self._file(claim, "beat"), f"{self._beats} {secrets.token_hex(4)}\n")

    def free(self, claim: Claim) -> None:
        """Give the trial back."""
        self._file(claim, "free").touch()

    def enter(self, trial: int, generation: int) -> None:
        """Note that this process trains under a claim; to be called before it touches the trial.

        Raises:
            RunError: if the claim is no longer the newest.
        """
        claim = self._read(trial, generation)
        write_atomic(self._file(claim, "trial"), json.dumps(process()) + "\n")
        if not self.counts(trial, generation):
            raise RunError("another worker has taken this trial over", where=self._file(claim, "json"))

    def counts(self, trial: int, generation: int) -> bool:
        """Whether no later claim on the trial exists."""
        return not (self.folder / f"{trial:04d}-{generation + 1:02d}.json").exists()

    def _in_queue_lately(self, job: str, patience: float) -> bool | None:
        if self._queued(job) is not False:
            self._gone.pop(job, None)
            return True
        since = self._gone.setdefault(job, time.monotonic())
        return False if time.monotonic() - since >= patience else None

    def _beats_on(self, claim: Claim) -> bool | None:
        file = self._file(claim, "beat")
        told = file.read_text(encoding="utf-8") if file.exists() else ""
        before, since = self._seen.setdefault(claim.stem, (told, time.monotonic()))
        if told != before:
            self._seen[claim.stem] = (told, time.monotonic())
            return True
        return False if time.monotonic() - since > LEASE_S else None

    def _read(self, trial: int, generation: int) -> Claim:
        claim = Claim(trial, generation, {})
        return Claim(trial, generation, self._json(claim, "json"))

    def _json(self, claim: Claim, kind: str) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self._file(claim, kind).read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        return {}

    def _file(self, claim: Claim, kind: str) -> Path:
        return self.folder / f"{claim.stem}.{kind}"


def process() -> dict[str, Any]:
    """Who this process is."""
    return {"host": host(), "pid": os.getpid(), "born": process_birth(os.getpid())}


def job() -> dict[str, Any]:
    """This process, standing for the Slurm job or the task of an array that it runs in.

    Raises:
        RunError: outside Slurm.
    """
    name = job_id(os.environ)
    if name is None:
        raise RunError("this is no Slurm job", where="SLURM_JOB_ID", fix="use mien sweep")
    return {**process(), "job": name}


def host() -> str:
    """Name of the machine, of its boot and of the space that its process numbers count in."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    facts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        facts += [boot.read_text(encoding="utf-8").strip(), str(space.stat().st_ino)]
    return " ".join(facts)


def in_queue(job: str) -> bool | None:
    """Whether Slurm has a job (or a task of an array) queued or running; None if it cannot be asked."""
    command = ["squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode == 0:
        return not _ENDED.issuperset(done.stdout.split())
    return False if "Invalid job id" in done.stderr else None


def _lives(who: Mapping[str, Any]) -> bool:
    pid = who.get("pid")
    return isinstance(pid, int) and who.get("born") is not None and process_birth(pid) == who["born"]
