"""Pre-emption: a signal sets a flag; the ranks agree on it at a step boundary, save, and leave.

Which signal does what (names are configurable, `engine.signals`):

=================  ==============================================  ===========================  ============
signal             sent by                                         after the save               exit code
=================  ==============================================  ===========================  ============
SIGUSR1, SIGUSR2   `sbatch --signal=USR1@120`, before time is up   `scontrol requeue`           0
SIGTERM            Slurm pre-emption with a grace time             `scontrol requeue`           0
SIGTERM            Slurm pre-emption without one (Slurm requeues)  nothing                      143
SIGTERM            `scancel`, a service manager, a person          nothing                      143
SIGINT             Ctrl-C                                          nothing                      130
=================  ==============================================  ===========================  ============

Outside Slurm every signal saves and leaves with 128 + its number. On SIGTERM Slurm is asked for the state of
the job: only one that still runs and has a time of pre-emption is requeued here, so a cancelled job stays
cancelled. Requeueing happens at most once, from rank 0. Send signals to every task (no `B:` in `--signal`);
one that gets it is enough.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

log = logging.getLogger("mien.engine")


class Stopped(SystemExit):
    """Training was stopped by a signal, after a save.

    As a SystemExit it ends the process with `code`; see the table of this module.

    Args:
        signum: the signal.
        run: run folder, which `--resume` continues.
        step: steps done and saved.
        requeued: whether Slurm was told to run the job again.
        code: exit code.
    """

    def __init__(self, signum: int, run: Path, step: int, requeued: bool, code: int) -> None:
        super().__init__(code)
        self.signum = signum
        self.run = run
        self.step = step
        self.requeued = requeued

    def __str__(self) -> str:
        then = "the job is requeued" if self.requeued else "continue with --resume"
        return f"stopped by {signal.Signals(self.signum).name} after step {self.step}; {then}: {self.run}"


class StopSignals:
    """Handlers that only note the signal.

    A second SIGINT ends the process at once. The first signal also starts a watchdog outside the interpreter:
    if the save is not done in time, it prints where every thread stands and ends the process. Forked
    children, such as loader workers, ignore the signals, so that a signal to the whole process group leaves
    the loader alive for the save.

    Args:
        names: signals to take.
        grace_s: seconds from the signal until the watchdog ends the process.
    """

    def __init__(self, names: Iterable[str], grace_s: float) -> None:
        self.pending = 0
        self._owner = os.getpid()
        self._grace_s = grace_s
        self._signals = [signal.Signals[name] for name in names]
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Take the signals over; again after somebody else took them."""
        for signum in self._signals:
            current = signal.signal(signum, self._note)
            if current != self._note:
                self._before.setdefault(signum, current)

    def release(self) -> None:
        """Give the signals back and stop the watchdog."""
        for signum, handler in self._before.items():
            signal.signal(signum, handler if handler is not None else signal.SIG_DFL)
        self._before.clear()
        if self.pending:
            faulthandler.cancel_dump_traceback_later()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            return
        if self.pending == signum == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.pending:
            self.pending = signum
            faulthandler.dump_traceback_later(self._grace_s, exit=True)


def leave(signum: int, *, command: Callable[[list[str]], str | None] | None = None) -> tuple[bool, int]:
    """Requeue the Slurm job if that is due; call it once, on rank 0, after the save.

    Args:
        signum: the signal that was agreed on.
        command: runs a program and gives its output, or None if it failed; replaced in tests.

    Returns:
        Whether Slurm took the request, and the exit code.
    """
    run = command or _run
    code = 128 + signum
    job = job_id(os.environ)
    if job is None or not _due(signum, job, run):
        return False, code
    if run(["scontrol", "requeue", job]) is None:
        log.warning("scontrol could not requeue job %s; submit it again, it will resume", job)
        return False, code
    return True, 0


def job_id(environment: Any) -> str | None:
    """Slurm's name of this job (`<array job>_<task>` in an array), or None outside Slurm."""
    if "SLURM_ARRAY_JOB_ID" in environment and "SLURM_ARRAY_TASK_ID" in environment:
        job = f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    else:
        job = environment.get("SLURM_JOB_ID", "")
    return job if re.fullmatch(r"\d+(_\d+)?", job) else None


def _due(signum: int, job: str, run: Callable[[list[str]], str | None]) -> bool:
    if signum in (signal.SIGUSR1, signal.SIGUSR2):
        return True
    if signum != signal.SIGTERM:
        return False
    facts = run(["scontrol", "--oneliner", "show", "job", job]) or ""
    preempted = re.search(r"\bPreemptTime=(\S+)", facts)
    return (
        "JobState=RUNNING" in facts
        and preempted is not None
        and preempted[1] not in ("None", "Unknown", "N/A")
    )


def _run(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("%s: %s", " ".join(command), getattr(error, "stderr", None) or error)
        return None
    return done.stdout
