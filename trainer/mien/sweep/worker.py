"""Trials on this machine: take one, train it in a process of its own, take the next, until none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import FrameType
from typing import IO

from optuna.trial import FrozenTrial, TrialState

from mien.sweep import claims, crashes
from mien.sweep.claims import Claim
from mien.sweep.progress import Lines
from mien.sweep.study import Sweep
from mien.sweep.trial import PARENT, fail

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_INPUT = 2
"""Exit code of a fault of the input, which the next trial would meet as well."""
_LOOK_S = 0.2
_ASK_S = 5.0
"""Seconds between two questions for a trial when there was none: each reads the journal under its lock."""


@dataclass
class _Running:
    claim: Claim
    process: subprocess.Popen[bytes]
    log: IO[bytes]


class Worker:
    """Works on a sweep.

    Args:
        sweep: the sweep.
        jobs: trials at a time.
        most: trials to take at most; None takes all there are.
        retries: how often a trial that dies is started again without having got further.
    """

    def __init__(self, sweep: Sweep, jobs: int = 1, most: int | None = None, retries: int = 3) -> None:
        self.sweep = sweep
        self.jobs = jobs
        self.left = sweep.config.total if most is None else most
        self.retries = retries
        self.stopped_by = 0
        self.faulty = False
        self._running: list[_Running] = []
        self._beaten = time.monotonic()
        self._ask_at = 0.0
        self._waiting = False
        self._lines = Lines(sweep)

    def run(self) -> int:
        """Work until nothing is left or a signal comes; gives the exit code."""
        before = {signum: signal.signal(signum, self._stop) for signum in _STOPS}
        try:
            while self._work():
                time.sleep(_LOOK_S)
        finally:
            for one in self._running:  # only after an exception
                one.process.terminate()
                one.process.wait()
            self._lines.close()
            for signum, handler in before.items():
                signal.signal(signum, handler)
        if self.stopped_by:
            return 128 + self.stopped_by
        return _INPUT if self.faulty else 0

    def _work(self) -> bool:
        """Look after the running trials and start others; False when there is nothing to wait for."""
        for one in list(self._running):
            if one.process.poll() is not None:
                self._running.remove(one)
                self._settle(one)
        self._beat()
        if time.monotonic() >= self._ask_at:
            self._fill()
        self._lines.look([one.claim.trial for one in self._running])
        return bool(self._running) or (self._waiting and not self.stopped_by)

    def _fill(self) -> None:
        """Take trials until as many run as may; after a no it asks again only a while later."""
        waited, self._waiting = self._waiting, False
        while not self.stopped_by and not self.faulty and self.left and len(self._running) < self.jobs:
            claim, self._waiting = self.sweep.take(claims.process())
            if claim is None:
                self._ask_at = time.monotonic() + _ASK_S
                if self._waiting and not waited:
                    self._lines.say(f"looking up to {claims.LEASE_S:.0f} s whether workers elsewhere live")
                return
            self.left -= 1
            self._start(claim)

    def _start(self, claim: Claim) -> None:
        root = self.sweep.root(claim.trial)
        root.mkdir(parents=True, exist_ok=True)
        self.sweep.claims.beat(claim)
        log = (root / "log.txt").open("ab")
        command = [
            sys.executable,
            "-u",
            "-m",
            "mien",
            "sweep-trial",
            str(root),
            f"--claim={claim.generation}",
        ]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env=os.environ | {PARENT: str(os.getpid())},
            start_new_session=True,  # Ctrl-C reaches it once, through this process
        )  # fmt: skip
        self._running.append(_Running(claim, process, log))
        self._lines.started(claim.trial)
        if self.stopped_by:
            process.send_signal(self.stopped_by)

    def _settle(self, one: _Running) -> None:
        """The process of a trial has ended: with a result, by our signal, for a bad input, or by a crash."""
        one.log.close()
        number, code = one.claim.trial, one.process.returncode
        trial = self.sweep.trials()[number]
        if not trial.state.is_finished() and not self.stopped_by and code != _INPUT:
            root = self.sweep.root(number)
            if crashes.count(root) <= self.retries:
                self._lines.say(f"trial {number} ended with code {code}; it goes on from its checkpoint")
                self._start(one.claim)
                return
            fail(self.sweep, number, f"ended {self.retries + 1} times with code {code}, no further each time")
            trial = self.sweep.trials()[number]
        if not trial.state.is_finished():
            self.sweep.claims.free(one.claim)
            self.faulty |= code == _INPUT and not self.stopped_by
        self._lines.ended(trial, _last_words(self.sweep, trial, code))

    def _beat(self) -> None:
        if time.monotonic() - self._beaten > claims.BEAT_S:
            self._beaten = time.monotonic()
            for one in self._running:
                self.sweep.claims.beat(one.claim)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        """Pass the signal on: the trials save and end. A second one ends them as they are."""
        self.stopped_by = self.stopped_by or signum
        for one in self._running:
            if one.process.poll() is None:
                one.process.send_signal(signum)


def _last_words(sweep: Sweep, trial: FrozenTrial, code: int) -> list[str]:
    """The end of the log of a trial that did not finish for a fault."""
    if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or code in (0, *(128 + s for s in _STOPS)):
        return []
    log = sweep.root(trial.number) / "log.txt"
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4000))
        lines = file.read().decode(errors="replace").splitlines()
    return [*lines[-5:], f"all of it: {log}"]
