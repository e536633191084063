"""Training on a table of neighbours: the order it gives, exact resume, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien import recipe as recipes
from mien.data import neighbours
from mien.data.neighbours import Neighbours, Side
from mien.data.reader import ShardSet
from mien.data.together import TogetherSet
from mien.engine import run as train
from mien.engine.rundir import RunFolder
from mien.errors import RunError

from .processes import Session, ranks
from .runs import differences, last_step, learned, metrics, only_run, overrides, samples, state

STEPS = 12
SIZE = 96


def write_table(path: Path, sha: str, stride: int) -> Path:
    """Neighbours of i: i + stride, i + 2 stride, i + 3 stride, of which the far ones are ignored too."""
    numbers = np.arange(SIZE)[:, None]
    lists = ((numbers + stride * np.arange(1, 4)) % SIZE).astype(np.int32)
    ignored = ((numbers + stride * np.arange(4, 6)) % SIZE).astype(np.int32)
    one = Side(lists, np.full(lists.shape, 1 / 3, np.float32), ignored)
    neighbours.save(Neighbours(one, one, sha, {"stride": stride}), path)
    return path


@pytest.fixture(scope="module")
def tables(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder, sha = tmp_path_factory.mktemp("tables"), ShardSet(sets["train"]).sha
    return {stride: write_table(folder / f"{stride}.safetensors", sha, stride) for stride in (7, 14)}


@pytest.fixture(scope="module")
def keys_of(sets: dict[str, Path], tables: dict[int, Path]) -> Callable[..., list[str]]:
    def make(root: Path, *more: str, stride: int = 7) -> list[str]:
        own = (
            f"engine.max_steps={STEPS}", "engine.checkpoint_every=3", "engine.val_every=6",
            f"data.train.neighbours={tables[stride]}", "objective.mining.source=table",
            "objective.mining.hold_steps=2", "objective.mining.ramp_steps=2",
        )  # fmt: skip
        return overrides(sets, root, *own, *more)

    return make


@pytest.fixture(scope="module")
def undisturbed_table(keys_of, tmp_path_factory) -> RunFolder:
    root = tmp_path_factory.mktemp("table-run")
    train(recipes.load("emocapclip/tiny", keys_of(root)))
    return only_run(root)


def test_a_run_reads_the_order_of_the_table_and_mines_from_it(undisturbed_table, sets, tables) -> None:
    order = TogetherSet(ShardSet(sets["train"]), neighbours.load(tables[7]), 3).order(0, 8)
    rows = samples(undisturbed_table)
    assert [index for *_, index, _ in rows] == order.slice(0, STEPS * 16)[1].tolist()
    mined = [row["train/mined"] for row in metrics(undisturbed_table) if "train/mined" in row]
    assert len(mined) == STEPS
    assert min(mined) > 0.5
    assert undisturbed_table.info["train_sha"] != ShardSet(sets["train"]).sha


def test_a_run_killed_twice_ends_bitwise_equal(undisturbed_table, keys_of, tmp_path: Path) -> None:
    keys = keys_of(tmp_path / "runs", "data.workers=1")
    session = Session(keys, tmp_path / "0.log")
    session.until(lambda: last_step(tmp_path / "runs") >= 5)
    session.kill()
    session = Session(keys, tmp_path / "1.log", resume=True)
    assert session.wait() == 0, session.said()
    run = only_run(tmp_path / "runs")
    assert differences(state(run), state(undisturbed_table)) == []
    assert learned(run) == learned(undisturbed_table)
    assert samples(run) == samples(undisturbed_table)


def test_two_ranks_see_the_same_global_batches(undisturbed_table, keys_of, tmp_path: Path) -> None:
    keys = keys_of(tmp_path / "runs")
    for session in ranks(2, keys, tmp_path):
        assert session.wait() == 0, session.said()
    run = only_run(tmp_path / "runs")
    assert samples(run) == samples(undisturbed_table)
    for one, other in zip(metrics(run), metrics(undisturbed_table), strict=True):
        assert one["train/mined"] == pytest.approx(other["train/mined"])
        assert one["train/loss"] == pytest.approx(other["train/loss"], rel=1e-3)


def test_another_table_is_another_run(undisturbed_table, keys_of, tmp_path: Path) -> None:
    root = undisturbed_table.path.parents[2]
    longer = (f"engine.max_steps={STEPS + 1}",)
    for more in (keys_of(root, *longer, stride=14), keys_of(root, *longer, "data.train.beside=2")):
        with pytest.raises(RunError, match=r"differs from the run's in data\.train\.(neighbours|beside)"):
            train(recipes.load("emocapclip/tiny", more), resume=True)


def test_a_source_without_a_table_is_one_line(sets, tmp_path: Path) -> None:
    keys = overrides(sets, tmp_path, "objective.mining.source=table")
    with pytest.raises(RunError, match="no table is given") as caught:
        train(recipes.load("emocapclip/tiny", keys))
    assert len(str(caught.value).splitlines()) == 1
