"""Stop signals: saved at the step boundary, left with a known code, requeued where that is due."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mien.engine.rundir import RunFolder
from mien.engine.signals import Stopped, StopSignals, job_id, leave

from .processes import Session
from .runs import STEPS, differences, last_step, learned, metrics, only_run, overrides, samples, state
from .tracked import tracked_rows

SCONTROL = """#!/bin/sh
echo "$@" >>"$SCONTROL_LOG"
"""


def test_signals_save_at_the_step_boundary_and_resume_goes_on(
    sets: dict[str, Path], undisturbed: RunFolder, tmp_path: Path
) -> None:
    keys = overrides(
        sets, tmp_path / "runs", "data.workers=1", "engine.checkpoint_every=1000", "tracking.wandb=offline"
    )
    for step, signum, group in ((7, signal.SIGTERM, True), (16, signal.SIGUSR1, False)):
        session = Session(keys, tmp_path / f"{signum}.log", resume=True)  # the first time there is no run yet
        session.until(lambda step=step: last_step(tmp_path / "runs") >= step)
        session.send(signum, group=group)
        assert session.wait() == 128 + signum, session.said()
        run = only_run(tmp_path / "runs")
        done = run.checkpoint().step
        assert step <= done < STEPS
        assert samples(run)[-1][0] == done
        assert run.info["state"] == "stopped"
        assert f"stopped by {signum.name} after step {done}; continue with --resume" in session.said()
    session = Session(keys, tmp_path / "last.log", resume=True)
    assert session.wait() == 0, session.said()
    run = only_run(tmp_path / "runs")
    assert differences(state(run), state(undisturbed)) == []
    assert learned(run) == learned(undisturbed)
    assert samples(run) == samples(undisturbed)
    assert run.info["state"] == "finished"
    tracked = [int(row["step"]) for row in tracked_rows(run.path) if "train/lr" in row]  # not pictures
    assert sorted({*tracked}) == [int(row["step"]) for row in metrics(run)]
    assert len(tracked) - len({*tracked}) <= 2  # each new session sends the last row again


def test_in_slurm_the_job_is_requeued_once_after_the_save(sets: dict[str, Path], tmp_path: Path) -> None:
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(SCONTROL)
    program.chmod(0o755)
    environment = {
        "PATH": f"{program.parent}:{os.environ['PATH']}", "SCONTROL_LOG": str(tmp_path / "calls"),
        "SLURM_JOB_ID": "77", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "3",
    }  # fmt: skip
    keys = overrides(sets, tmp_path / "runs", "engine.max_steps=100000")
    session = Session(keys, tmp_path / "log", environment=environment)
    session.until(lambda: last_step(tmp_path / "runs") >= 2)
    session.send(signal.SIGUSR1)
    assert session.wait() == 0, session.said()
    assert (tmp_path / "calls").read_text() == "requeue 70_3\n"
    assert "the job is requeued" in session.said()
    run = only_run(tmp_path / "runs")
    assert samples(run)[-1][0] == run.checkpoint().step


RUNNING = "JobId=77 JobState=RUNNING PreemptTime={} SuspendTime=None"
CANCELLED = "JobId=77 JobState=CANCELLED PreemptTime=2026-01-01T00:00:00"


@pytest.mark.parametrize(
    ("signum", "facts", "expected", "asked"),
    [
        (signal.SIGUSR1, None, (True, 0), ["requeue 77"]),
        (signal.SIGUSR2, None, (True, 0), ["requeue 77"]),
        (signal.SIGTERM, RUNNING.format("2026-01-01T00:00:00"), (True, 0), ["show", "requeue 77"]),
        (signal.SIGTERM, RUNNING.format("None"), (False, 143), ["show"]),
        (signal.SIGTERM, CANCELLED, (False, 143), ["show"]),
        (signal.SIGTERM, "", (False, 143), ["show"]),
        (signal.SIGINT, None, (False, 130), []),
    ],
)
def test_who_is_requeued(
    monkeypatch: pytest.MonkeyPatch,
    signum: int,
    facts: str | None,
    expected: tuple[bool, int],
    asked: list[str],
) -> None:
    calls: list[str] = []

    def command(words: list[str]) -> str | None:
        assert words[0] == "scontrol"
        calls.append("show" if "show" in words else " ".join(words[1:]))
        return facts if "show" in words else ""

    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert leave(signum, command=command) == expected
    assert calls == asked
    monkeypatch.delenv("SLURM_JOB_ID")
    assert leave(signum, command=command) == (False, 128 + signum)
    assert calls == asked


def test_a_refused_requeue_leaves_with_the_code_of_the_signal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert leave(signal.SIGUSR1, command=lambda words: None) == (False, 138)
    assert "submit it again" in caplog.text
    monkeypatch.setenv("PATH", "/nowhere")
    assert leave(signal.SIGUSR1) == (False, 138)


def test_only_a_plain_job_id_reaches_the_command() -> None:
    assert job_id({}) is None
    assert job_id({"SLURM_JOB_ID": "12; rm"}) is None
    assert job_id({"SLURM_JOB_ID": "12"}) == "12"
    assert job_id({"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "4"}) == "9_4"


def test_handlers_note_the_first_signal_and_are_given_back() -> None:
    before = [signal.getsignal(one) for one in (signal.SIGUSR2, signal.SIGINT)]
    signals = StopSignals(("SIGUSR2", "SIGINT"), grace_s=60)
    signals.install()
    signals.install()
    os.kill(os.getpid(), signal.SIGUSR2)
    os.kill(os.getpid(), signal.SIGINT)
    assert signals.pending == signal.SIGUSR2
    signals.release()
    assert [signal.getsignal(one) for one in (signal.SIGUSR2, signal.SIGINT)] == before


def test_a_second_interrupt_ends_at_once() -> None:
    signals = StopSignals(("SIGINT",), grace_s=60)
    signals.install()
    try:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signals.release()


def test_a_save_that_hangs_is_ended(tmp_path: Path) -> None:
    code = (
        "import os, signal, time; from mien.engine.signals import StopSignals\n"
        "StopSignals(['SIGTERM'], 0.3).install(); os.kill(os.getpid(), signal.SIGTERM)\n"
        "while True: time.sleep(1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Timeout" in done.stderr


def test_stopped_tells_how_to_go_on() -> None:
    stopped = Stopped(signal.SIGTERM, Path("run"), 7, False, 143)
    assert isinstance(stopped, SystemExit)
    assert stopped.code == 143
    assert str(stopped) == "stopped by SIGTERM after step 7; continue with --resume: run"
