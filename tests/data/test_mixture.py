"""Mixtures: proportions in every window, each set in its own epochs, the same on any number of ranks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien import recipe
from mien.data.collate import collate_plain
from mien.data.config import DataConfig, PartConfig, TrainConfig
from mien.data.mixture import PERIOD, MixedOrder, MixedSet, pattern, shares
from mien.data.order import Order
from mien.data.quarantine import Quarantine
from mien.data.reader import ShardSet
from mien.data.sets import open_train
from mien.data.stream import Stream
from mien.errors import DataError, RecipeError
from mien.faults.sets import write_set as write_captioned

from .faulty import faulty
from .toys import show, write_set

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
SIZES, WEIGHTS = (17, 5, 31), (2.0, 1.0, 0.5)
GLOBAL, STEPS = 12, 16

counts_ = st.lists(st.integers(1, 40), min_size=1, max_size=6)
weights_ = st.lists(st.floats(0.01, 100), min_size=1, max_size=6)
sizes_ = st.lists(st.lists(st.integers(1, 7), min_size=1, max_size=5), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("mixture")
    return [write_set(root / f"set{number}", size, 4) for number, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def mixed(folders):
    return MixedSet([ShardSet(folder) for folder in folders], WEIGHTS)


def consume(mixed, *, world=1, accumulate=1, workers=0, start=0, steps=STEPS):
    """(index, epoch, draw, uid) of each global batch, in the order of positions."""
    options = {"accumulate": accumulate, "world": world, "workers": workers, "start": start, "steps": steps}
    options |= {"global_batch": GLOBAL, "shuffle_block": 2, "seed": 3}
    streams = [Stream(mixed, show, collate_plain, rank=rank, **options) for rank in range(world)]
    names = ("index", "epoch", "draw", "uid")
    ranks = [
        [list(zip(*(batch[name].flatten().tolist() for name in names), strict=True)) for batch in stream]
        for stream in streams
    ]
    micro = [list(itertools.chain(*batches)) for batches in zip(*ranks, strict=True)]
    return [
        list(itertools.chain(*micro[step * accumulate : (step + 1) * accumulate])) for step in range(steps)
    ]


class TestPattern:
    """Which set a position belongs to."""

    @settings(deadline=None)
    @given(counts_)
    def test_every_window_has_its_share(self, counts):
        dealt = pattern(counts)
        period = sum(counts)
        assert np.bincount(dealt, minlength=len(counts)).tolist() == counts
        twice = np.concatenate([dealt, dealt])
        for number, count in enumerate(counts):
            lead = (
                np.cumsum(np.concatenate([[0], twice == number])) - count * np.arange(2 * period + 1) / period
            )
            assert np.abs(lead).max() < 1 or len(counts) == 1  # so far from the share is any beginning,
            assert lead.max() - lead.min() < 2  # and so far any window

    @settings(deadline=None)
    @given(weights_)
    def test_weights_become_whole_numbers(self, weights):
        counts = shares(weights)
        assert sum(counts) <= PERIOD
        for count, weight in zip(counts, weights, strict=True):
            assert count / sum(counts) == pytest.approx(weight / sum(weights), abs=1 / PERIOD)

    def test_simple_weights_are_exact(self):
        assert shares([2, 1]) == shares([4.0, 2.0]) == (2, 1)
        assert shares([0.7, 0.2, 0.1]) == (7, 2, 1)
        assert shares([1, 1 / 3]) == (3, 1)
        assert pattern([2, 1]).tolist() == [0, 1, 0]
        assert sum(shares([3.14159265, 2.71828183])) == PERIOD

    def test_a_weight_of_next_to_nothing(self):
        with pytest.raises(DataError, match="weight 1e-07 is less than 1 of 65536"):
            shares([1, 1e-7])


class TestOrder:
    """Positions to samples."""

    @settings(deadline=None, max_examples=60)
    @given(sizes_, st.data())
    def test_a_pure_function_of_the_position(self, sizes, data):
        counts = data.draw(st.lists(st.integers(1, 9), min_size=len(sizes), max_size=len(sizes)))
        seed = data.draw(st.integers(0, 2**32 - 1))

        def make():
            orders = [Order(np.array(shards), seed, 2, number) for number, shards in enumerate(sizes)]
            return MixedOrder(orders, counts)

        length = 4 * max(sum(shards) for shards in sizes) * sum(counts)
        length = min(length, 3000)
        epochs, indices = make().slice(0, length)
        for _ in range(5):
            start, stop = sorted((data.draw(st.integers(0, length)), data.draw(st.integers(0, length))))
            found = make().slice(start, stop)
            assert (found[0] == epochs[start:stop]).all()
            assert (found[1] == indices[start:stop]).all()
        self.check_epochs(sizes, epochs, indices)

    def check_epochs(self, sizes, epochs, indices):
        """Each set in epochs of its own, every sample once in each; no (epoch, sample) twice."""
        first = 0
        for shards in sizes:
            size = sum(shards)
            mine = (indices >= first) & (indices < first + size)
            assert (epochs[mine] == np.arange(mine.sum()) // size).all()
            for epoch in range(int(mine.sum()) // size):
                found = np.sort(indices[mine & (epochs == epoch)]) - first
                assert (found == np.arange(size)).all()
            first += size
        assert len(set(zip(epochs.tolist(), indices.tolist(), strict=True))) == len(epochs)

    def test_far_positions_cost_no_more_than_near_ones(self):
        order = MixedOrder([Order(np.array([3, 2]), 1, 2), Order(np.array([4]), 1, 2, 1)], (2, 1))
        far = 3 * 10**12
        epochs, indices = order.slice(far, far + 9)
        assert (epochs[indices < 5] == 2 * 10**12 // 5 + np.arange(6) // 5).all()
        assert (epochs[indices >= 5] == 10**12 // 4).all()

    def test_sets_of_the_same_sizes_are_shuffled_differently(self):
        orders = [Order(np.full(8, 25), 1, 4, number).epoch(0).tolist() for number in range(3)]
        assert len({tuple(order) for order in orders}) == 3

    @settings(deadline=None, max_examples=30)
    @given(sizes_, st.integers(0, 500), st.integers(1, 20))
    def test_what_is_near_holds_what_is_read(self, sizes, start, length):
        orders = [Order(np.array(shards), 0, 2, number) for number, shards in enumerate(sizes)]
        order = MixedOrder(orders, [1] * len(sizes))
        shard_of = np.repeat(np.arange(sum(map(len, sizes))), list(itertools.chain(*sizes)))
        for position in range(start, start + length):
            _, (index,) = order.slice(position, position + 1)
            near = order.near(position, 1)
            assert shard_of[index] in near
            assert set(near) <= set(order.near(position, 2))
            assert order.near(position, 0) == ()


@pytest.fixture(scope="module")
def undisturbed(mixed):
    return consume(mixed)


@pytest.mark.parametrize(("world", "accumulate", "workers"), [(2, 1, 0), (4, 3, 0), (3, 2, 2), (1, 1, 3)])
def test_global_batches_do_not_depend_on_ranks_or_workers(mixed, undisturbed, world, accumulate, workers):
    assert consume(mixed, world=world, accumulate=accumulate, workers=workers) == undisturbed


def test_resume_at_any_step_is_the_tail(mixed, undisturbed):
    for step in range(STEPS):
        assert consume(mixed, start=step * GLOBAL, steps=STEPS - step) == undisturbed[step:]


def test_samples_are_those_of_the_sets(mixed, undisturbed, folders):
    """Index, uid and proportions; the random numbers of two sets never meet."""
    starts = np.cumsum([0, *SIZES])
    seen = np.array([row[0] for batch in undisturbed for row in batch])
    uids = np.array([row[3] for batch in undisturbed for row in batch])
    of = np.searchsorted(starts, seen, side="right") - 1
    assert (uids - 1000 == seen - starts[of]).all()
    share = np.bincount(of) / len(of)
    assert share == pytest.approx(np.array(WEIGHTS) / sum(WEIGHTS), abs=2 / len(of))
    draws = [row[2] for batch in undisturbed for row in batch]
    assert len(set(draws)) == len(draws)
    assert mixed.read(20).index == 20
    assert mixed.shard_of(20) == f"{folders[1]}/shard-00000.tar"
    assert len(list(mixed)) == len(mixed) == sum(SIZES)
    with pytest.raises(IndexError):
        mixed.read(sum(SIZES))


def test_one_set_alone_is_the_stream_as_it_was(folders):
    alone, one = ShardSet(folders[0]), MixedSet([ShardSet(folders[0])], [3.0])
    assert consume(one) == consume(alone)


def test_what_stands_for_the_mixture(folders):
    sets = [ShardSet(folder) for folder in folders[:2]]
    shas = [MixedSet(sets, weights).sha for weights in ([2, 1], [4, 2], [1, 2])]
    assert shas[0] == shas[1] != shas[2]
    assert MixedSet(sets[::-1], [1, 2]).sha not in shas


def test_damage_names_the_set(folders, tmp_path):
    sets = [ShardSet(folders[0]), ShardSet(write_set(tmp_path / "bad", 8, 4))]
    path = tmp_path / "bad" / "shard-00001.tar"
    path.write_bytes(bytes(len(path.read_bytes())))
    mixed = MixedSet(sets, [1, 1])
    ledger = Quarantine(tmp_path / "ledger", sha=mixed.sha, size=len(mixed), fraction=1.0)
    stream = Stream(mixed, show, collate_plain, seed=0, global_batch=8, steps=2, quarantine=ledger)
    valid = torch.cat([batch["valid"] for batch in stream])
    assert (~valid).sum() == ledger.count == 4
    assert f"{tmp_path}/bad/shard-00001.tar" in (tmp_path / "ledger").read_text()


def test_schemas_agree(folders, tmp_path):
    write_captioned(tmp_path / "other", 2)
    parts = (PartConfig(shards=str(folders[0])), PartConfig(shards=str(tmp_path / "other")))
    with pytest.raises(
        DataError, match=r"schema emocap/1, but .*set0 has labelled/1; mix sets of one schema"
    ):
        open_train(DataConfig(train=TrainConfig(mix=parts)))


def test_remote_and_local_sets_mix(folders, tmp_path, mixed, undisturbed, monkeypatch):
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    with faulty(folders[0]) as one, faulty(folders[1]) as two:
        places = (one.url, two.url, str(folders[2]))
        parts = tuple(PartConfig(shards=at, weight=w) for at, w in zip(places, WEIGHTS, strict=True))
        found = open_train(DataConfig(train=TrainConfig(mix=parts), shuffle_block=2))
        assert found.sha == mixed.sha
        assert consume(found, workers=2) == undisturbed
        assert len(one.asked("shard-00000.tar")) == 2  # its size, and its bytes once


class TestRecipe:
    """How a mixture is written."""

    def test_on_the_command_line(self):
        loaded = recipe.load(
            "emocapclip/tiny",
            ["data.train.shards=null", "data.train.mix=[{shards: a, weight: 2}, {shards: b}]"],
        )
        assert [(part.shards, part.weight) for part in loaded.data.train.parts] == [("a", 2.0), ("b", 1.0)]

    @pytest.mark.parametrize(
        ("overrides", "words"),
        [
            (["data.train.mix=[{shards: a}]"], "either shards .* or mix"),
            (["data.train.shards=null"], "either shards .* or mix"),
            (["data.train={mix: [{shards: a, weight: 0}]}"], "greater than 0"),
            (["data.train={mix: []}"], "at least 1"),
            (["data.train={mix: [{shards: a, wieght: 2}]}"], "did you mean .*weight"),
        ],
    )
    def test_mistakes(self, overrides, words):
        with pytest.raises(RecipeError, match=words) as raised:
            recipe.load("emocapclip/tiny", overrides)
        assert "data.train" in str(raised.value)
