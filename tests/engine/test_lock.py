"""Two jobs on one run: the second is turned away, whatever state the first is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien import engine
from mien.engine import lock
from mien.engine.rundir import RunFolder

from .processes import Session
from .runs import differences, last_step, only_run, overrides, state
from .toy import toy_recipe


def test_a_second_job_is_turned_away_and_the_first_ends_as_if_alone(
    sets: dict[str, Path], undisturbed: RunFolder, tmp_path: Path
) -> None:
    keys = overrides(sets, tmp_path)
    first = Session(keys, tmp_path / "first.log")
    first.until(lambda: last_step(tmp_path) >= 3)
    first.pause()
    second = Session(keys, tmp_path / "second.log", resume=True, patience_s=0.5)
    assert second.wait() == 2
    assert "another job works on this run: process" in second.said()
    first.proceed()
    assert first.wait() == 0, first.said()
    assert differences(state(only_run(tmp_path)), state(undisturbed)) == []


def test_a_killed_job_gives_the_run_up_at_once(sets: dict[str, Path], tmp_path: Path) -> None:
    keys = overrides(sets, tmp_path, "data.workers=1", "engine.max_steps=12")
    first = Session(keys, tmp_path / "first.log")
    first.until(lambda: last_step(tmp_path) >= 6)
    first.kill()
    second = Session(keys, tmp_path / "second.log", resume=True, patience_s=0.5)
    assert second.wait() == 0, second.said()


def test_a_session_that_ended_in_this_process_holds_nothing(
    sets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PATIENCE_S", 0.0)
    engine.run(toy_recipe(sets, tmp_path))
    again = engine.run(toy_recipe(sets, tmp_path, "engine.max_steps=22"), resume=True)
    assert RunFolder(again).checkpoint().step == 22
