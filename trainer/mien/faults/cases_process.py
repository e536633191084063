"""Faults of processes: kills, signals, hung clocks, loaders, two jobs at once."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from mien.faults import sessions
from mien.faults.compare import differences, only_run, state
from mien.faults.lab import EVERY, STEPS, Case, Lab, Outcome, reached, some_step


def kill_rank(lab: Lab, root: Path, chance: random.Random) -> Outcome:
    """SIGKILL of one of two ranks; the other one ends too, and the run goes on."""
    ranks = lab.start(root, world=2)
    victim = chance.randrange(2)
    ranks[0].until(reached(root, some_step(chance)))
    ranks[victim].kill()
    other = ranks[1 - victim].wait()
    assert other, "the other rank ended as if nothing had happened"
    return lab.same(lab.finish(root, world=2), world=2)


def kill_launcher(lab: Lab, root: Path, chance: random.Random) -> Outcome:
    """SIGKILL of `mien train`, which started the second rank itself; no process is left over."""
    root.mkdir(parents=True)
    keys = lab.keys(root, "engine.devices=2")
    command = [sys.executable, "-m", "mien", "train", lab.subject.recipe, *keys]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (root / "launcher.log").open("w") as log:
        launcher = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    end, ready = time.monotonic() + sessions.PATIENCE_S, reached(root, some_step(chance))
    while not ready():
        assert launcher.poll() is None, (root / "launcher.log").read_text()
        assert time.monotonic() < end, "does not get going"
        time.sleep(0.01)
    launcher.kill()
    launcher.wait()
    end = time.monotonic() + sessions.PATIENCE_S
    while _group_lives(launcher.pid):
        assert time.monotonic() < end, "a rank was left over"
        time.sleep(0.05)
    return lab.same(lab.finish(root, world=2), world=2)


def _group_lives(group: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, 0)
        return True
    return False


def term_in_write(lab: Lab, root: Path, chance: random.Random) -> Outcome:
    """SIGTERM while a checkpoint is being written: saved, code 143."""
    (session,) = lab.start(root, faults={"slow_writes": 0.5})
    session.until(lambda: any(root.glob("*/*/*/checkpoints/*.tmp")))
    time.sleep(chance.random() * 0.4)
    session.send(signal.SIGTERM)
    code = session.wait()
    if code != 128 + signal.SIGTERM:
        return Outcome(False, f"code {code}: {session.said()[-200:]}")
    return lab.same(lab.finish(root), said=", code 143")


def kill_loader(lab: Lab, root: Path, chance: random.Random) -> Outcome:
    """SIGKILL of a loader worker: the session ends with a reason, and the run goes on."""
    (session,) = lab.start(root, "data.workers=2")
    session.until(reached(root, chance.randint(2, STEPS // 2)))  # early: it must not end before it is paused
    session.pause()  # else it may end meanwhile
    workers = _children(session.pid, "pt_data_worker") or _children(session.pid)
    os.kill(chance.choice(workers), signal.SIGKILL)
    session.proceed()
    code = session.wait()
    if code != 1 or "DataLoader worker" not in session.said():
        return Outcome(False, f"code {code}: {session.said()[-200:]}")
    return lab.same(lab.finish(root, "data.workers=2"), said=" after code 1")


def _children(parent: int, name: str = "") -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                head, _, rest = (folder / "stat").read_text().rpartition(")")
                if int(rest.split()[1]) == parent and name in head:
                    found.append(int(folder.name))
    return found


def nan_batch(lab: Lab, root: Path, chance: random.Random) -> Outcome:
    """A batch whose loss is not a number: skipped, its samples named; the same at every try."""
    (session,) = lab.start(root, faults={"poison": [11]})
    assert session.wait() == 0, session.said()
    run = only_run(root)
    lines = (run.path / "nonfinite.jsonl").read_text().splitlines()
    if len(lines) != 1 or '"step": 11' not in lines[0]:
        return Outcome(False, f"noted: {lines}")
    found = differences(state(run), lab.first("nan", state(run)))
    return Outcome(not found, f"differs in {found[0]}" if found else "skipped and named, bitwise equal")


def clock_jump(lab: Lab, root: Path, chance: random.Random) -> Outcome:
    """The wall clock jumps by up to a day, either way, in the middle."""
    jump = chance.choice([-1, 1]) * chance.uniform(60, 86_400)
    at = some_step(chance)
    (session,) = lab.start(root, faults={"clock": [at, jump]})
    session.until(reached(root, min(STEPS - 2, at + 2)))
    session.send(signal.SIGTERM)
    session.wait()
    return lab.same(lab.finish(root))


def two_jobs(lab: Lab, root: Path, chance: random.Random) -> Outcome:
    """A second job on the run folder is turned away; the first ends as if alone."""
    (first,) = lab.start(root)
    first.until(reached(root, some_step(chance)))
    first.pause()
    (second,) = lab.start(root, resume=True, faults={"patience": 0.3})
    code = second.wait()
    first.proceed()
    assert first.wait() == 0, first.said()
    if code != 2 or "another job works on this run" not in second.said():
        return Outcome(False, f"second: code {code}: {second.said()[-200:]}")
    return lab.same(only_run(root), said=", second: code 2")


def wandb_away(lab: Lab, root: Path, chance: random.Random) -> Outcome:
    """W&B's server refuses connections."""
    keys = ("tracking.wandb=online", f"engine.checkpoint_every={EVERY}")
    where = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
    (session,) = lab.start(root, *keys, environment=where)
    code = session.wait()
    if code:
        return Outcome(False, f"code {code}: {session.said()[-200:]}")
    return lab.same(only_run(root))


CASES: dict[str, Case] = {
    "SIGKILL of a rank": kill_rank,
    "SIGKILL of the launcher": kill_launcher,
    "SIGTERM in a checkpoint write": term_in_write,
    "loader worker killed": kill_loader,
    "NaN batch": nan_batch,
    "clock jumps": clock_jump,
    "two jobs on one run": two_jobs,
    "W&B unreachable": wandb_away,
}
