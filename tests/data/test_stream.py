"""The determinism contract: what is in global batch k depends on seed, epoch and set, and on nothing else."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import threading
import time

import numpy as np
import pytest
import torch

from mien.data import loading
from mien.data.collate import collate_plain
from mien.data.order import Order, SampleRandom, Share
from mien.data.reader import ShardSet
from mien.data.stream import EvalStream, Stream
from mien.errors import DataError

from .toys import show, write_set

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
SAMPLES, GLOBAL, STEPS = 53, 24, 7  # 168 samples: three epochs and a bit, every epoch ends inside a batch
FROZEN = [[0, 8, 1, 2, 7, 6, 5, 3, 4], [4, 2, 0, 1, 3, 5, 7, 8, 6], [3, 4, 5, 7, 8, 6, 0, 1, 2]]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return ShardSet(write_set(tmp_path_factory.mktemp("stream") / "set", SAMPLES, 5))


def rows(batch):
    """What there is of each row of a batch: index, epoch, random number, sum of the image."""
    images = batch["img"].flatten(1).sum(1).tolist()
    assert batch["valid"].all()
    assert batch["told"].tolist() == batch["epoch"].tolist()
    assert (batch["uid"] - 1000).tolist() == batch["index"].tolist()
    return list(
        zip(
            batch["index"].tolist(),
            batch["epoch"].tolist(),
            batch["draw"][:, 0].tolist(),
            images,
            strict=True,
        )
    )


def flat(lists):
    return list(itertools.chain.from_iterable(lists))


def consume(shards, *, world=1, accumulate=1, workers=0, prefetch=4, start=0, steps=STEPS, seed=3, **more):
    """Rows of each global batch, in the order of the positions: micro-step by micro-step, rank by rank."""
    options = {"accumulate": accumulate, "world": world, "workers": workers, "start": start, "steps": steps}
    options |= {"global_batch": GLOBAL, "shuffle_block": 3, "seed": seed, "prefetch": prefetch} | more
    streams = [Stream(shards, show, collate_plain, rank=rank, **options) for rank in range(world)]
    ranks = [[rows(batch) for batch in stream] for stream in streams]
    assert {len(batches) for batches in ranks} == {steps * accumulate}
    micro = [flat(batches[number] for batches in ranks) for number in range(steps * accumulate)]
    return [flat(micro[step * accumulate : (step + 1) * accumulate]) for step in range(steps)]


@pytest.fixture(scope="module")
def undisturbed(shards):
    return consume(shards)


@pytest.mark.parametrize(
    ("world", "accumulate"), [(1, 3), (2, 1), (2, 4), (3, 1), (3, 2), (4, 1), (4, 3), (8, 1), (8, 3)]
)
def test_global_batches_do_not_depend_on_ranks_or_accumulation(shards, undisturbed, world, accumulate):
    assert consume(shards, world=world, accumulate=accumulate) == undisturbed


@pytest.mark.parametrize(("workers", "prefetch"), [(1, 4), (2, 1), (2, 7), (3, 2)])
def test_nor_on_workers_or_prefetch(shards, undisturbed, workers, prefetch):
    assert consume(shards, workers=workers, prefetch=prefetch) == undisturbed


def test_nor_on_all_of_them_together(shards, undisturbed):
    assert consume(shards, workers=2, prefetch=2, world=4, accumulate=2) == undisturbed


def test_every_sample_once_an_epoch(undisturbed):
    seen = [(index, epoch) for batch in undisturbed for index, epoch, _, _ in batch]
    for epoch in range(3):
        assert sorted(index for index, of in seen if of == epoch) == list(range(SAMPLES))
    assert [epoch for _, epoch in seen] == [position // SAMPLES for position in range(len(seen))]


def test_random_numbers_are_those_of_the_sample_and_epoch(undisturbed):
    draws = {}
    for index, epoch, draw, _ in flat(undisturbed):
        assert draws.setdefault((index, epoch), draw) == draw == SampleRandom(3).at(epoch, index).random()
    assert len(set(draws.values())) == len(draws)


def test_another_seed_is_another_stream(shards, undisturbed):
    other = consume(shards, seed=4)
    first, second = ([row[0] for row in flat(run)] for run in (undisturbed, other))
    assert first != second
    assert not {row[2] for row in flat(undisturbed)} & {row[2] for row in flat(other)}


def test_resume_at_any_step_is_the_tail(shards, undisturbed):
    for step in range(STEPS):
        assert consume(shards, start=step * GLOBAL, steps=STEPS - step) == undisturbed[step:]


@pytest.mark.parametrize(("step", "world", "workers"), [(1, 3, 2), (2, 4, 1), (3, 2, 3)])
def test_resume_with_other_ranks_and_workers(shards, undisturbed, step, world, workers):
    tail = consume(shards, start=step * GLOBAL, steps=2, world=world, workers=workers)
    assert tail == undisturbed[step : step + 2]


def test_resume_at_any_sample(shards, undisturbed):
    """Also with another batch size: the state is a number of samples, whatever batches they came in."""
    everything = flat(undisturbed)
    rng = np.random.default_rng(0)
    for start in {0, 1, SAMPLES - 1, SAMPLES, SAMPLES + 1, *rng.integers(0, 140, 20).tolist()}:
        batch = int(rng.integers(1, 12))
        found = consume(shards, start=start, steps=2, global_batch=batch)
        assert flat(found) == everything[start : start + 2 * batch]


def test_iterating_again_starts_again(shards):
    stream = Stream(shards, show, collate_plain, seed=0, global_batch=8, start=16, steps=2, workers=1)
    assert [rows(batch) for batch in stream] == [rows(batch) for batch in stream]


def test_workers_end_with_the_iteration_and_without_the_garbage_collector(shards):
    gc.disable()
    try:
        stream = Stream(shards, show, collate_plain, seed=0, global_batch=8, workers=2)
        next(iter(stream))
        evaluation = EvalStream(shards, show, collate_plain, batch=8, workers=1)
        assert len(list(evaluation)) == len(list(evaluation)) == 7
        del evaluation
        assert not multiprocessing.active_children()
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", [Stream, EvalStream])
def test_close_ends_a_pass_that_others_still_hold(shards, kind):
    options = {"global_batch": 8} if kind is Stream else {"batch": 8}
    stream = kind(shards, show, collate_plain, seed=0, workers=2, **options)
    held = iter(stream)
    first = rows(next(held))
    assert len(multiprocessing.active_children()) == 2
    stream.close()
    assert not multiprocessing.active_children()
    assert list(held) == []
    assert rows(next(iter(stream))) == first
    stream.close()
    stream.close()


class Breaking:
    """A loader whose only worker is `worker`, and that cannot take over its batch."""

    def __init__(self, worker):
        self._workers = [worker]

    def __iter__(self):
        return self

    def __next__(self):
        raise ConnectionResetError


def test_a_worker_killed_while_a_batch_is_handed_over_is_named(monkeypatch):
    """Its sockets are closed before it has ended, so the loader takes it for alive."""
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    worker.start()
    threading.Timer(0.3, worker.kill).start()
    with pytest.raises(RuntimeError, match=f"DataLoader worker.*{worker.pid}"):
        next(loading._drain(Breaking(worker)))
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
    worker.start()
    monkeypatch.setattr(loading, "_DEATH_S", 0.05)
    with pytest.raises(ConnectionResetError):
        next(loading._drain(Breaking(worker)))
    worker.kill()


def test_an_endless_stream_goes_on(shards):
    stream = Stream(shards, show, collate_plain, seed=0, global_batch=8, workers=1)
    epochs = [int(batch["epoch"][0]) for batch in itertools.islice(stream, 30)]
    assert epochs == [8 * step // SAMPLES for step in range(30)]
    with pytest.raises(TypeError):
        len(stream)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_global_random_state_is_left_alone(shards, workers):
    torch.manual_seed(0)
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    stream = Stream(shards, show, collate_plain, seed=0, global_batch=8, steps=3, workers=workers)
    assert len(list(stream)) == len(stream) == 3
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numbers).all()


def test_position(shards):
    stream = Stream(shards, show, collate_plain, seed=0, global_batch=24, start=48)
    position = stream.position(steps=2)
    assert (position.seen, position.epoch, position.offset) == (96, 1, 43)
    assert position.epochs == pytest.approx(96 / 53)
    assert str(position) == "epoch 1, sample 43 of 53"


def test_a_batch_that_does_not_divide(shards):
    with pytest.raises(
        DataError, match=r"global batch 25 does not divide by 2 accumulated x 4 ranks; use 24"
    ):
        Stream(shards, show, collate_plain, seed=0, global_batch=25, accumulate=2, world=4)
    with pytest.raises(DataError, match="no share"):
        Share(4, 1, 2, 2)


@pytest.mark.parametrize("world", [1, 2, 3, 4, 8])
def test_evaluation_sees_each_sample_once_on_any_number_of_ranks(shards, world):
    streams = [
        EvalStream(shards, show, collate_plain, batch=4, rank=rank, world=world, workers=world == 2)
        for rank in range(world)
    ]
    ranks = [list(stream) for stream in streams]
    assert {len(batches) for batches in ranks} == {len(streams[0])} == {-(-SAMPLES // (4 * world))}
    seen = []
    for step in range(len(streams[0])):
        for batches in ranks:
            batch = batches[step]
            assert batch["img"].shape == (4, 3, 16, 16)
            assert (batch["index"][~batch["valid"]] == -1).all()
            assert not batch["epoch"].any()
            seen += batch["index"][batch["valid"]].tolist()
    assert seen == list(range(SAMPLES))


class TestOrder:
    """Properties of the order over many sets."""

    def test_it_never_changes(self):
        """Written down once: another numpy or another machine must give the same epochs."""
        order = Order(np.array([3, 2, 4]), seed=1, shuffle_block=2)
        assert [order.epoch(epoch).tolist() for epoch in range(3)] == FROZEN

    @pytest.mark.parametrize("case", range(40))
    def test_properties(self, case):
        rng = np.random.default_rng(case)
        sizes = rng.integers(0 if case % 2 else 1, 9, rng.integers(1, 12))
        sizes[0] += 1
        block, seed = int(rng.integers(1, 14)), int(rng.integers(0, 1 << 32))
        order, total = Order(sizes, seed, block), int(sizes.sum())
        shard_of = np.repeat(np.arange(len(sizes)), sizes)
        epochs = np.stack([order.epoch(epoch) for epoch in range(3)])
        assert (np.sort(epochs, axis=1) == np.arange(total)).all()
        for epoch in epochs:  # never more than a block of shards is begun and not yet finished
            place = [np.flatnonzero(shard_of[epoch] == shard) for shard in np.unique(shard_of)]
            begun = sum((np.arange(total) >= at[0]) & (np.arange(total) < at[-1]) for at in place)
            assert np.max(begun) <= block
        flat = epochs.ravel()
        for _ in range(10):
            start, stop = sorted(rng.integers(0, 3 * total + 1, 2).tolist())
            of, indices = Order(sizes, seed, block).slice(start, stop)
            assert (indices == flat[start:stop]).all()
            assert (of == np.arange(start, stop) // total).all()

    def test_epochs_seeds_and_blocks_differ(self):
        sizes = np.full(8, 25)
        orders = [Order(sizes, seed, block).epoch(e) for seed in (0, 1) for block in (2, 8) for e in (0, 1)]
        assert len({order.tobytes() for order in orders}) == len(orders)

    def test_a_shuffle_over_the_whole_set_is_even(self):
        """Every sample is as likely in the first tenth as anywhere (chi-square over 400 epochs, 5 sigma)."""
        order = Order(np.full(4, 10), seed=0, shuffle_block=4)
        hits = np.bincount(np.concatenate([order.epoch(e)[:4] for e in range(400)]), minlength=40)
        chi2 = ((hits - 40) ** 2 / 40).sum()
        assert chi2 < 39 + 5 * (2 * 39) ** 0.5

    def test_explain(self):
        order = Order(np.array([3, 2, 4]), seed=1, shuffle_block=2)
        text = order.explain(10)
        assert text.startswith(f"position 10 is sample {FROZEN[1][1]}: epoch 1, number 1 of 9, block 0 of 2")

    def test_far_epochs_cost_no_more_than_near_ones(self):
        order = Order(np.array([3, 2, 4]), seed=1, shuffle_block=2)
        assert sorted(order.epoch(10**9).tolist()) == list(range(9))
