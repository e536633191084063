"""A run that mines its own training set every epoch: orders, tables, exact resume, ranks, and refusals."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from data.test_neighbours import table as random_table
from data.toys import write_set
from mien import recipe as recipes
from mien.data import neighbours
from mien.data.reader import ShardSet
from mien.data.together import TogetherSet
from mien.engine import run as train
from mien.engine.remining import Rounds, table_path
from mien.engine.rundir import RunFolder
from mien.errors import RecipeError, RunError
from mien.systems.emocapclip.whole_set import embed_run, mine_embedded

from .processes import Session, ranks
from .runs import differences, last_step, learned, metrics, only_run, overrides, samples, state

STEPS, EPOCH = 15, 6  # 96 samples, 16 a step


@pytest.fixture(scope="module")
def keys_of(sets: dict[str, Path]) -> Callable[..., list[str]]:
    def make(root: Path, *more: str) -> list[str]:
        own = (
            f"engine.max_steps={STEPS}", "engine.checkpoint_every=3", "engine.keep_last=9", "engine.ema=0.9",
            "engine.val_every=6", "objective.mining.source=table", "objective.mining.every=1",
            "objective.mining.threshold=0.5", "objective.mining.hold_steps=2",
            "objective.mining.ramp_steps=2",
        )  # fmt: skip
        return overrides(sets, root, *own, *more)

    return make


@pytest.fixture(scope="module")
def undisturbed_rounds(keys_of, tmp_path_factory) -> RunFolder:
    root = tmp_path_factory.mktemp("rounds")
    train(recipes.load("emocapclip/tiny", keys_of(root)))
    return only_run(root)


def indices(run: RunFolder) -> list[int]:
    return [index for *_, index, _ in samples(run)]


def test_each_round_reads_the_order_of_its_own_table(undisturbed_rounds: RunFolder, sets) -> None:
    shards, found = ShardSet(sets["train"]), indices(undisturbed_rounds)
    assert found[:96] == shards.order(0, 8).slice(0, 96)[1].tolist()
    for step in (EPOCH, 2 * EPOCH):
        made = neighbours.load(table_path(undisturbed_rounds.path, step))
        assert (made.ab.indices >= 0).any()
        assert made.facts["step"] == step
        stop = min(step + EPOCH, STEPS)
        order = TogetherSet(shards, made, 3).order(0, 8)
        assert found[16 * step : 16 * stop] == order.slice(16 * step, 16 * stop)[1].tolist()
    mined = [row["train/mined"] for row in metrics(undisturbed_rounds) if "train/mined" in row]
    assert max(mined[:EPOCH]) == 0
    assert min(mined[EPOCH:]) > 0


def test_a_table_is_mined_from_the_weights_of_that_step(undisturbed_rounds: RunFolder, sets) -> None:
    """As `mien mine` does with the checkpoint of the step: averaged weights, no augmentation."""
    for step in (EPOCH, 2 * EPOCH):
        made = neighbours.load(table_path(undisturbed_rounds.path, step))
        embedded, recipe, shards, at = embed_run(
            undisturbed_rounds.path, str(sets["train"]), str(step), False
        )
        assert at == step
        expected = mine_embedded(embedded, recipe.objective.mining, shards.sha, {})
        assert (expected.ab.indices == made.ab.indices).mean() > 0.99  # other batches, other rounding


def test_killed_in_a_round_it_ends_bitwise_equal(undisturbed_rounds, keys_of, tmp_path: Path) -> None:
    keys = keys_of(tmp_path / "runs", "data.workers=1")
    session = Session(keys, tmp_path / "0.log")
    session.until(lambda: last_step(tmp_path / "runs") >= EPOCH + 2)
    session.kill()
    run = only_run(tmp_path / "runs")
    newest = run.store.newest_valid()
    assert newest is not None
    assert newest.step >= EPOCH
    session = Session(keys, tmp_path / "1.log", resume=True)
    assert session.wait() == 0, session.said()
    run = only_run(tmp_path / "runs")
    assert differences(state(run), state(undisturbed_rounds)) == []
    assert learned(run) == learned(undisturbed_rounds)
    assert samples(run) == samples(undisturbed_rounds)


@pytest.mark.parametrize("left", [EPOCH, 9])
def test_what_was_mined_from_lost_weights_is_mined_again(
    undisturbed_rounds, keys_of, tmp_path: Path, left: int
) -> None:
    """Checkpoints up to `left` are there; at 6 its table is lost too, as if killed before it was made."""
    root = tmp_path / "runs"
    shutil.copytree(undisturbed_rounds.path.parents[2], root)
    run = only_run(root)
    for step in (9, 12, 15):
        if step > left:
            shutil.rmtree(run.store.path(step))
    if left == EPOCH:
        table_path(run.path, EPOCH).unlink()
    old = table_path(run.path, 2 * EPOCH).stat().st_mtime_ns
    train(recipes.load("emocapclip/tiny", keys_of(root)), resume=True)
    run = only_run(root)
    assert table_path(run.path, 2 * EPOCH).stat().st_mtime_ns > old
    assert differences(state(run), state(undisturbed_rounds)) == []
    assert samples(run) == samples(undisturbed_rounds)


@pytest.mark.parametrize(
    "layout", [(), ("engine.strategy=fsdp2",), ("engine.strategy=deepspeed", "engine.zero.stage=3")]
)
def test_two_ranks_mine_what_one_process_finds_with_their_weights(
    sets, keys_of, tmp_path: Path, layout: tuple[str, ...]
) -> None:
    for session in ranks(2, keys_of(tmp_path / "runs", *layout, "engine.max_steps=8"), tmp_path):
        assert session.wait() == 0, session.said()
    run = only_run(tmp_path / "runs")
    made = neighbours.load(table_path(run.path, EPOCH))
    embedded, recipe, shards, _ = embed_run(run.path, str(sets["train"]), str(EPOCH), False)
    expected = mine_embedded(embedded, recipe.objective.mining, shards.sha, {})
    assert (expected.ab.indices == made.ab.indices).mean() > 0.99
    order = TogetherSet(shards, made, 3).order(0, 8)
    assert indices(run)[96:128] == order.slice(96, 128)[1].tolist()


def test_a_lost_or_foreign_table_ends_the_run_in_one_line(undisturbed_rounds, keys_of, tmp_path) -> None:
    root = tmp_path / "runs"
    shutil.copytree(undisturbed_rounds.path.parents[2], root)
    run = only_run(root)
    for step in (12, 15):
        shutil.rmtree(run.store.path(step))
    path = table_path(run.path, EPOCH)
    made = neighbours.load(path)
    neighbours.save(neighbours.Neighbours(made.ab, made.ba, made.set_sha, {}), path)
    with pytest.raises(RunError, match="not the one that the checkpoint was trained with"):
        train(recipes.load("emocapclip/tiny", keys_of(root)), resume=True)
    path.unlink()
    with pytest.raises(RunError, match="table of neighbours is gone") as caught:
        train(recipes.load("emocapclip/tiny", keys_of(root)), resume=True)
    assert len(str(caught.value).splitlines()) == 1


def test_refused_before_there_is_a_run_folder(sets, keys_of, tmp_path: Path) -> None:
    mixture = f"data.train={{mix: [{{shards: {sets['train']}}}, {{shards: {sets['val']}}}]}}"
    with pytest.raises(RunError, match="not in a mixture"):
        train(recipes.load("emocapclip/tiny", keys_of(tmp_path, "data.train.shards=null", mixture)))
    with pytest.raises(RunError, match="no table is given"):
        train(recipes.load("emocapclip/tiny", keys_of(tmp_path, "objective.mining.every=null")))
    with pytest.raises(RecipeError, match="every mines tables"):
        recipes.load("emocapclip/tiny", keys_of(tmp_path, "objective.mining.source=online"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RunError, match="smaller than a global batch of 128"):
        train(recipes.load("emocapclip/tiny", keys_of(tmp_path, "engine.global_batch=128")))


@pytest.mark.parametrize(("size", "batch", "epochs"), [(41, 6, 1), (41, 7, 2), (24, 24, 1), (30, 29, 1)])
def test_every_sample_comes_once_an_epoch_over_all_rounds(
    tmp_path: Path, size: int, batch: int, epochs: int
) -> None:
    shards = ShardSet(write_set(tmp_path / "set", size, 9))
    rounds = Rounds(shards, tmp_path, epochs, batch, 3, (0, 2))
    seen: list[int] = []
    for number in range(5):
        assert rounds.at(rounds.begin(number)) == number
        assert number == 0 or rounds.at(rounds.begin(number) - 1) == number - 1
        if number:
            neighbours.save(random_table(shards.sha, size, seed=number), rounds.path(number))
        order = rounds.set_of(number).order(0, 2)
        first, last = (rounds.begin(n) * batch for n in (number, number + 1))
        seen += order.slice(first, last)[1].tolist()
    whole = len(seen) // size
    assert whole >= 5 * epochs - 1
    for epoch in range(whole):
        assert Counter(seen[epoch * size : (epoch + 1) * size]) == Counter(range(size))
