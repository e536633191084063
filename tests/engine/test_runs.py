"""`mien runs`: how each run below a folder stands."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from mien.engine.rundir import RunFolder
from mien.engine.runs import FRESH_S, find
from mien.errors import RunError

from .processes import Session
from .runs import last_step, only_run, overrides


@pytest.fixture(scope="module")
def root(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished, a stopped, a killed and a failed run."""
    root = tmp_path_factory.mktemp("runs")
    short = ("engine.max_steps=6", "engine.best.metric=loss", "engine.val_every=3")
    done = Session(overrides(sets, root / "finished", *short), root / "finished.log")
    assert done.wait() == 0, done.said()
    for name, signum in (("stopped", signal.SIGTERM), ("killed", signal.SIGKILL)):
        session = Session(overrides(sets, root / name, "engine.max_steps=100000"), root / f"{name}.log")
        session.until(lambda name=name: last_step(root / name) >= 7)
        assert [run.state for run in find(root / name)] == ["running"]
        session.send(signum, group=signum == signal.SIGKILL)
        session.wait()
    keys = ("engine.guard.max_in_a_row=1", "engine.max_steps=9")
    failed = Session(overrides(sets, root / "failed", *keys), root / "failed.log", poison=range(9))
    assert failed.wait() == 2, failed.said()
    return root


def test_states_steps_metrics_and_sizes(root: Path) -> None:
    runs = {run.path.relative_to(root).parts[0]: run for run in find(root)}
    assert {name: run.state for name, run in runs.items()} == {
        "finished": "finished", "stopped": "stopped", "killed": "killed", "failed": "failed",
    }  # fmt: skip
    done = runs["finished"]
    assert (done.step, done.max_steps, done.saved, done.recipe) == (6, 6, 6, "emocapclip/tiny")
    assert done.metric is not None
    assert done.metric[0] == "val/loss"
    assert runs["killed"].step >= 7
    # It may have been killed while it wrote the newest one.
    newest = runs["killed"].step // 5 * 5
    assert runs["killed"].saved in (newest, newest - 5)
    assert all(1e4 < run.bytes < 1e8 for run in runs.values())
    assert [run.changed for run in find(root)] == sorted((run.changed for run in runs.values()), reverse=True)


def test_a_run_of_another_machine_counts_as_running_while_its_logs_grow(root: Path) -> None:
    run = only_run(root / "killed")
    sessions = run.info["sessions"]
    run.update(sessions=[*sessions[:-1], sessions[-1] | {"host": "elsewhere"}])
    log = run.path / "metrics.csv"
    assert [found.state for found in find(root / "killed")] == ["running"]
    old = time.time() - FRESH_S - 60
    os.utime(log, (old, old))
    assert [found.state for found in find(root / "killed")] == ["killed"]
    run.update(sessions=sessions)


def test_another_process_of_that_number_is_not_the_run(root: Path) -> None:
    run = only_run(root / "killed")
    sessions = run.info["sessions"]
    run.update(sessions=[*sessions[:-1], sessions[-1] | {"pid": os.getpid()}])
    assert [found.state for found in find(root / "killed")] == ["killed"]
    run.update(sessions=sessions)


def test_unreadable_runs_are_said_and_left_out(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    broken = tmp_path / "a" / "b" / "run"
    broken.mkdir(parents=True)
    (broken / "run.json").write_text("{")
    assert find(tmp_path) == []
    assert "run.json cannot be read" in capsys.readouterr().err
    with pytest.raises(RunError, match="no such folder"):
        find(tmp_path / "absent")


def test_the_command_prints_and_writes_them(root: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    from mien.cli import app

    app(["runs", str(root), "--json", str(tmp_path / "runs.json")], standalone_mode=False)
    said = capsys.readouterr().out
    for word in (
        "finished",
        "stopped",
        "killed",
        "failed",
        "6/6",
        "val/loss",
        str(only_run(root / "failed").path),
    ):
        assert word in said
    app(["runs", str(root), "--state", "killed"], standalone_mode=False)
    assert "finished" not in capsys.readouterr().out.replace("finished/", "")
    rows = json.loads((tmp_path / "runs.json").read_text())
    assert len(rows) == 4
    assert {RunFolder.open(row["path"]).info["state"] for row in rows} >= {"finished", "stopped", "failed"}
