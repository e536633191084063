"""A run that is killed again and again ends with the weights of a run that is not."""

from __future__ import annotations

import random
from pathlib import Path

from mien.engine.rundir import RunFolder
from mien.faults.cases_process import kill_loader
from mien.faults.lab import Lab

from .processes import Session
from .runs import EVERY, STEPS, differences, last_step, learned, only_run, overrides, samples, state

PARTS = ["imports", "sets", "run", "model", "trackers", "strategy", "restore", "batch", "step"]


def test_a_run_killed_five_times_ends_bitwise_equal(
    sets: dict[str, Path], undisturbed: RunFolder, tmp_path: Path
) -> None:
    keys = overrides(sets, tmp_path / "runs", "data.workers=1", "tracking.wandb=offline")
    chance = random.Random(20)
    at = [2, *sorted(chance.sample(range(EVERY + 1, STEPS - EVERY), 3))]  # the first before any checkpoint
    for number, step in enumerate(at):
        session = Session(keys, tmp_path / f"{number}.log", resume=number > 0)
        session.until(lambda step=step: last_step(tmp_path / "runs") >= step)
        session.kill()
    often = [*keys, "engine.checkpoint_every=1"]  # the last save would end the session before it is killed
    session = Session(often, tmp_path / "saving.log", resume=True)
    writing = "*/*/*/checkpoints/*.tmp"
    session.until(lambda: any((tmp_path / "runs").glob(writing)))  # the fifth falls into a save
    session.kill()
    session = Session(keys, tmp_path / "last.log", resume=True)
    assert session.wait() == 0, session.said()

    run = only_run(tmp_path / "runs")
    assert differences(state(run), state(undisturbed)) == []
    assert learned(run) == learned(undisturbed)
    assert samples(run) == samples(undisturbed)
    assert len(run.info["sessions"]) == 6
    parts = run.info["sessions"][-1]["startup"]
    assert list(parts) == PARTS
    assert all(seconds >= 0 for seconds in parts.values())
    assert (
        0.2 < sum(parts.values()) < run.info["sessions"][-1]["end"] - run.info["sessions"][-1]["start"] + 60
    )
    tracked = [folder.name for folder in run.path.glob("wandb/offline-run-*")]
    assert tracked
    assert all(run.info["wandb_id"] in name for name in tracked)


def test_the_log_of_samples_has_each_once_an_epoch(undisturbed: RunFolder, sets: dict[str, Path]) -> None:
    rows = samples(undisturbed)
    assert [position for _, position, *_ in rows] == list(range(STEPS * 16))
    assert all(step == position // 16 + 1 and epoch == position // 96 for step, position, epoch, *_ in rows)
    for epoch in range(5):
        uids = [uid for _, _, e, _, uid in rows if e == epoch]
        assert sorted(uids) == list(range(1000, 1096))
        assert uids != sorted(uids)


def test_another_seed_is_another_run(sets: dict[str, Path], undisturbed: RunFolder, tmp_path: Path) -> None:
    """Else the comparisons above could not fail."""
    session = Session(overrides(sets, tmp_path, "seed=1"), tmp_path / "log")
    assert session.wait() == 0, session.said()
    found = differences(state(only_run(tmp_path)), state(undisturbed))
    assert any("state_dict" in place for place in found)
    assert any("rng" in place for place in found)
    assert samples(only_run(tmp_path)) != samples(undisturbed)


def test_a_killed_loader_ends_the_session_and_the_run_goes_on(tmp_path: Path) -> None:
    """Told as what it is, and nothing waits for the workers that are left."""
    lab = Lab(tmp_path)
    for number in range(3):
        outcome = kill_loader(lab, tmp_path / str(number), random.Random(number))
        assert outcome.good, outcome.said
