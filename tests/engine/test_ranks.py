"""One, two and four ranks train the same model on the same global batches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mien.engine.rundir import RunFolder

from .processes import ranks
from .runs import last_step, learned, metrics, only_run, overrides, samples, state

STEPS = 50
PRECISIONS = {
    # Towers this small are chaotic at a large rate: rounding grows a thousandfold in ten steps. So the large
    # rate, with mined positives, is compared without rounding, and the usual precision at a small rate.
    "64": ("engine.precision=64", "objective.mining.threshold=0.3"),
    "32": ("engine.optimizer.lr=1e-4", "engine.schedule.warmup=40"),
}
LOSS = {"64": 1e-8, "32": 1e-5}
WEIGHTS = {"64": 1e-10, "32": 1e-4}
CASES = [("64", 2), ("64", 4), ("32", 2)]
Runs = dict[tuple[str, int], RunFolder]


@pytest.fixture(scope="module")
def runs(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Runs of 50 steps by precision and number of ranks."""
    found = {}
    for precision, keys in PRECISIONS.items():
        for world in (1, *(world for case, world in CASES if case == precision)):
            root = tmp_path_factory.mktemp(f"ranks{world}")
            length = (f"engine.max_steps={STEPS}", "engine.checkpoint_every=1000")
            sessions = ranks(world, overrides(sets, root, *length, *keys), root)
            for rank, session in enumerate(sessions):
                assert session.wait() == 0, session.said()
                assert ("samples/s" in session.said()) == (rank == 0)  # the first rank alone speaks
            found[precision, world] = only_run(root)
    return found


@pytest.mark.parametrize(("precision", "world"), CASES)
def test_ranks_share_the_same_global_batches(runs: Runs, precision: str, world: int) -> None:
    run = runs[precision, world]
    assert len(list(run.path.glob("samples-rank*.csv"))) == world
    assert samples(run) == samples(runs[precision, 1])
    assert len(samples(run)) == STEPS * 16


@pytest.mark.parametrize(("precision", "world"), CASES)
def test_losses_are_equal_for_fifty_steps(runs: Runs, precision: str, world: int) -> None:
    alone, together = metrics(runs[precision, 1]), metrics(runs[precision, world])
    assert [row["step"] for row in alone] == list(range(1, STEPS + 1))
    assert precision == "32" or all(row["train/mined"] > 0 for row in alone)
    for one, other in zip(alone, together, strict=True):
        assert other.keys() - one.keys() <= {"perf/comm_s", "perf/comm_alone_s"}  # one process has no others
        for name in one:
            if name.startswith(("train/loss", "train/mined", "val/")):
                assert other[name] == pytest.approx(one[name], rel=LOSS[precision]), (one["step"], name)


@pytest.mark.parametrize(("precision", "world"), CASES)
def test_weights_are_equal_within_rounding(runs: Runs, precision: str, world: int) -> None:
    alone, together = state(runs[precision, 1]), state(runs[precision, world])
    bound = {"rtol": 0.0, "atol": WEIGHTS[precision], "equal_nan": True}
    assert together["consumed"] == alone["consumed"]
    for name, weight in alone["state_dict"].items():
        torch.testing.assert_close(together["state_dict"][name], weight, **bound, msg=name)
    for name, mean in alone["ema"].items():
        torch.testing.assert_close(together["ema"][name], mean, **bound, msg=name)


def test_another_number_of_ranks_may_go_on(sets: dict[str, Path], runs: Runs, tmp_path: Path) -> None:
    length = (f"engine.max_steps={STEPS}", "engine.checkpoint_every=1000")
    keys = overrides(sets, tmp_path, *length, *PRECISIONS["64"])
    two = ranks(2, keys, tmp_path)
    two[0].until(lambda: last_step(tmp_path) >= 12)
    two[1].send(signal.SIGUSR1)  # one rank is told, both save and leave
    assert [session.wait() for session in two] == [128 + signal.SIGUSR1] * 2, two[0].said()
    (one,) = ranks(1, keys, tmp_path, resume=True)
    assert one.wait() == 0, one.said()
    run = only_run(tmp_path)
    assert samples(run) == samples(runs["64", 1])
    losses = [row["train/loss"] for row in learned(run)]
    assert losses == pytest.approx([row["train/loss"] for row in metrics(runs["64", 1])], rel=LOSS["64"])


def test_a_loss_that_is_not_finite_on_one_rank_is_skipped_on_all(
    sets: dict[str, Path], tmp_path: Path
) -> None:
    keys = overrides(sets, tmp_path, "engine.max_steps=12", "engine.guard.max_in_a_row=2")
    two = ranks(2, keys, tmp_path, poison={1: (4, 8, 9)})
    assert [session.wait() for session in two] == [2, 2]
    for session in two:
        assert "2 steps with a loss or gradient that is not finite" in session.said()
    run = only_run(tmp_path)
    entries = [json.loads(line) for line in (run.path / "nonfinite.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries] == [4, 8, 9]
    by_rank = [rank["loss"] for rank in entries[0]["ranks"]]
    assert by_rank[0] != "nan"
    assert by_rank[1] == "nan"
    named = {uid for rank in entries[0]["ranks"] for uid in rank["uids"]}
    assert named == {uid for step, *_, uid in samples(run) if step == 5}
    assert [row["train/skipped"] for row in metrics(run)] == [0, 0, 0, 0, 1, 1, 1, 1, 2]


def test_the_command_starts_its_own_ranks_and_ends_them(sets: dict[str, Path], tmp_path: Path) -> None:
    keys = overrides(sets, tmp_path / "runs", "engine.devices=2", "engine.max_steps=100000")
    command = [sys.executable, "-m", "mien", "train", "emocapclip/tiny", *keys]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
    end = time.monotonic() + 90
    while last_step(tmp_path / "runs") < 3:
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM, (tmp_path / "log").read_text()
    run = only_run(tmp_path / "runs")
    assert run.info["state"] == "stopped"
    assert samples(run)[-1][0] == run.checkpoint().step
    assert (tmp_path / "log").read_text().count("stopped by SIGTERM") == 1
