"""Trials in real processes: killed workers and trials, two workers at once, signals, pruning, bad input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from engine.runs import learned, only_run
from mien.sweep.report import write_report
from mien.sweep.status import rows
from mien.sweep.study import Sweep
from sweep.twins import as_undisturbed

PATIENCE_S = 180.0


def _start(file: Path, *arguments: str) -> subprocess.Popen[str]:
    """`mien sweep FILE ARGUMENTS` in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "mien", "sweep", str(file), *arguments],
        cwd=file.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def _end(process: subprocess.Popen[str], code: int = 0) -> str:
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, said
    return said


def _until(ready: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not ready():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.005)


def _open(file: Path) -> Sweep:
    return Sweep.open(file.parent / "sweeps" / file.stem)


def _steps(file: Path, number: int) -> int:
    logs = (file.parent / "sweeps" / file.stem / f"trial-{number:04d}").glob("*/*/*/metrics.csv")
    return sum(log.read_text().count("\n") - 1 for log in logs)


def _as_undisturbed(sweep: Sweep, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sweep.folder.parent.parent)
    as_undisturbed(sweep, number, "emocapclip/tiny", sweep.folder.parent / f"twin-{number}")


def test_a_killed_worker_and_two_at_once_end_in_every_trial_once_and_unharmed(make, monkeypatch) -> None:
    file = make(set={"engine.max_steps": 24, "engine.val_every": 8, "engine.checkpoint_every": 4})
    first = _start(file)
    _until(lambda: _steps(file, 1) > 6, first)
    first.kill()  # its trial is told to stop by that, and saves
    first.wait()
    workers = [_start(file), _start(file)]
    said = "".join(_end(worker) for worker in workers)
    sweep = _open(file)
    everything = sweep.study.get_trials()
    assert [trial.state for trial in everything] == [TrialState.COMPLETE] * 4
    sessions = [len(only_run(sweep.root(number)).info["sessions"]) for number in range(4)]
    assert sessions == [1, 2, 1, 1]
    assert said.count(" finished  val/loss") == 3  # trial 0 was done before
    _as_undisturbed(sweep, 1, monkeypatch)
    again = _end(_start(file))
    assert " finished  val/loss" not in again  # nothing is done twice
    assert len(_open(file).study.get_trials()) == 4


def test_a_trial_that_is_killed_goes_on_and_one_that_keeps_dying_is_given_up(make, monkeypatch) -> None:
    file = make(trials=2)
    spoil = file.parent / "sitecustomize.py"
    spoil.write_text(
        "import os, signal, sys\n"
        "if any('trial-0001' in word for word in sys.orig_argv):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{file.parent}:{os.environ.get('PYTHONPATH', '')}")
    worker = _start(file, "--jobs=2", "engine.max_steps=24", "engine.checkpoint_every=4")
    _until(lambda: _steps(file, 0) > 6, worker)
    claim = (file.parent / "sweeps" / "small" / "claims" / "0000-00.trial").read_text()
    os.kill(int(claim.partition('"pid": ')[2].partition(",")[0]), signal.SIGKILL)
    said = _end(worker)
    assert "trial 0 ended with code -9; it goes on from its checkpoint" in said
    assert "ended 4 times with code -9, no further each time" in said
    sweep = _open(file)
    assert [trial.state for trial in sweep.trials()] == [TrialState.COMPLETE, TrialState.FAIL]
    _as_undisturbed(sweep, 0, monkeypatch)


def test_a_stop_signal_saves_the_trial_and_gives_it_back(make, monkeypatch) -> None:
    file = make(trials=1)
    worker = _start(file, "engine.max_steps=60")
    _until(lambda: _steps(file, 0) > 2, worker)
    os.killpg(worker.pid, signal.SIGINT)  # as Ctrl-C does
    said = _end(worker, 130)
    assert "interrupted" in said
    assert [row.state for row in rows(_open(file))] == ["interrupted"]
    before = _steps(file, 0)
    assert before < 60
    _end(_start(file, "engine.max_steps=60"))
    _as_undisturbed(_open(file), 0, monkeypatch)


def test_trials_behind_the_median_are_pruned_and_stay(make) -> None:
    rates = {"engine.optimizer.lr": {"values": [0.002, 0.003, 0.0000001]}}
    rule = {"rule": "median", "warmup_steps": 0, "warmup_trials": 2}
    file = make(space=rates, pruning=rule, set={"engine.max_steps": 24})
    said = _end(_start(file))
    sweep = _open(file)
    assert [row.state for row in rows(sweep)] == ["finished", "finished", "pruned"]
    assert "pruned" in said
    run = only_run(sweep.root(2))
    last = int(learned(run)[-1]["step"])
    assert last < 24
    assert run.info["state"] == "pruned"
    assert rows(sweep)[2].reason == f"behind at step {last}"
    _end(_start(file))
    assert len(only_run(sweep.root(2)).info["sessions"]) == 1  # never resumed
    page = write_report(sweep).read_text()
    assert 'class="cross"' in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_a_diverged_trial_fails_alone_and_a_bad_input_stops_the_sweep(make) -> None:
    wild = {
        "engine.clip": None, "engine.optimizer.betas": [0.0, 0.0], "engine.optimizer.weight_decay": 9.0,
        "engine.schedule.warmup": 0, "engine.guard.max_in_a_row": 1,
    }  # fmt: skip
    file = make(space={"engine.optimizer.lr": {"values": [9.9, 0.0001]}}, set=wild)
    said = _end(_start(file))
    found = rows(_open(file))
    assert [row.state for row in found] == ["failed", "finished"]
    assert "not finite (engine.guard.max_in_a_row)" in found[0].reason
    assert "not finite (engine.guard.max_in_a_row)" in said
    file = make("missing", set={"data.train.shards": str(file.parent / "nowhere")})
    said = _end(_start(file), 2)
    assert "data.train.shards" in said
    assert [row.state for row in rows(_open(file))] == ["interrupted"]  # it can be mended and run again
    file = make("unknown", metric="val/lost")
    said = _end(_start(file), 2)
    assert "no such metric: val/lost" in said
    assert len(_open(file).trials()) == 1
