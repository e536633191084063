"""The table of neighbours on disk, and the order that places neighbours beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from data.toys import show, write_set
from mien.data import neighbours, sets
from mien.data.collate import collate_plain
from mien.data.config import DataConfig
from mien.data.neighbours import Neighbours, Side
from mien.data.reader import ShardSet
from mien.data.stream import Stream
from mien.data.together import TogetherSet, grouped
from mien.errors import DataError

SIZE = 41


def side(size: int, k: int = 3, seed: int = 0) -> Side:
    """Random lists with gaps; a row's positives and ignored are different samples, none is itself."""
    rng = np.random.default_rng(seed)
    indices, ignored = np.full((size, k), -1, np.int32), np.full((size, 2), -1, np.int32)
    for row in range(size):
        others = rng.permutation(np.delete(np.arange(size), row))
        count = min(int(rng.integers(0, k + 1)), len(others))
        indices[row, :count] = others[:count]
        if len(others) > k:
            ignored[row, : rng.integers(0, 3)] = others[k]
    raw = rng.random((size, k)) * (indices >= 0)
    weights = raw / np.maximum(raw.sum(1, keepdims=True), 1e-9)
    return Side(indices, weights.astype(np.float32), ignored)


def table(sha: str = "abc", size: int = SIZE, seed: int = 0) -> Neighbours:
    one = side(size, seed=seed)
    return Neighbours(one, one, sha, {"rule": "consensus", "k": 3})


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> ShardSet:
    return ShardSet(write_set(tmp_path_factory.mktemp("set"), SIZE, 9))


# --- the file


@pytest.mark.parametrize("both", [False, True])
def test_what_was_saved_is_loaded(tmp_path, both):
    made = table()
    if both:
        made = Neighbours(made.ab, side(SIZE, seed=4), made.set_sha, made.facts)
    sha = neighbours.save(made, tmp_path / "t.safetensors")
    again = neighbours.load(tmp_path / "t.safetensors")
    assert (again.sha, again.set_sha, dict(again.facts)) == (sha, "abc", {"rule": "consensus", "k": 3})
    assert (again.ab is again.ba) is not both
    for one, other in ((made.ab, again.ab), (made.ba, again.ba)):
        for part in ("indices", "weights", "ignored"):
            assert np.array_equal(getattr(one, part), getattr(other, part))
    assert [file.name for file in tmp_path.iterdir()] == ["t.safetensors"]


def test_the_sha_follows_every_part():
    shas = {
        table().sha, table("other").sha, table(seed=1).sha,
        Neighbours(table().ab, table().ab, "abc", {"rule": "text", "k": 3}).sha,
        Neighbours(table().ab, side(SIZE, seed=4), "abc", table().facts).sha,
    }  # fmt: skip
    assert len(shas) == 5


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(bytes(data))


def _rewrite(**changes):
    def do(file: Path) -> None:
        arrays = load_file(file)
        metadata = {"kind": "mien neighbours 1", "sha256": "0", "set_sha": "abc", "facts": {}}
        for name, change in changes.items():
            if name == "metadata":
                metadata |= change
            else:
                arrays[f"ab.{name}"] = change(arrays[f"ab.{name}"])
        save_file(arrays, file, {"mien": json.dumps(metadata)})

    return do


def _own(values):
    values = values.copy()
    values[5, 0] = 5
    return values


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_flip, "damaged|no shares|is none"),
        (lambda file: file.write_bytes(file.read_bytes()[:-20]), "cannot be read as safetensors"),
        (lambda file: file.write_bytes(b"not a table at all"), "cannot be read as safetensors"),
        (lambda file: file.unlink(), "no table of neighbours"),
        (_rewrite(metadata={"kind": "weights"}), "but no table"),
        (_rewrite(metadata={"facts": [1]}), "but no table"),
        (_rewrite(indices=lambda v: v.astype(np.int64)), "ab.indices is not int32"),
        (_rewrite(indices=lambda v: v + SIZE), "names a sample that is none"),
        (_rewrite(indices=_own), "or is its own"),
        (_rewrite(weights=lambda v: v * 2), "weights of ab are no shares"),
        (_rewrite(weights=lambda v: v[:, :1].copy()), "do not fit each other"),
        (_rewrite(ignored=lambda v: v[:-1].copy()), "do not fit each other"),
        (_rewrite(), "SHA-256 is not the one"),
    ],
)
def test_a_damaged_table_is_refused_in_one_line(tmp_path, damage, words):
    file = tmp_path / "t.safetensors"
    neighbours.save(table(), file)
    damage(file)
    with pytest.raises(DataError, match=words) as caught:
        neighbours.load(file)
    assert len(str(caught.value).splitlines()) == 1
    assert str(file) in str(caught.value)


def test_a_table_is_of_one_set_only(tmp_path, shards):
    file = tmp_path / "t.safetensors"
    data = {"train": {"shards": str(shards.folder), "neighbours": str(file)}}
    for made, words in ((table(shards.sha, 12), "12 samples, this set has 41"), (table(), "as many samples")):
        neighbours.save(made, file)
        with pytest.raises(DataError, match=words) as caught:
            sets.open_train(DataConfig.model_validate(data))
        assert str(caught.value).startswith("data.train.neighbours: ")
    neighbours.save(table(shards.sha), file)
    assert isinstance(sets.open_train(DataConfig.model_validate(data)), TogetherSet)


def test_a_disk_that_refuses_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="see to disk"):
        neighbours.save(table(), tmp_path / "file" / "t.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_mixture_has_no_table():
    with pytest.raises(ValueError, match="numbered in one set"):
        DataConfig.model_validate({"train": {"mix": [{"shards": "a"}], "neighbours": "t"}})


# --- the order


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 60), st.integers(0, 5), st.integers(0, 2**31))
def test_every_sample_once_and_each_anchor_before_its_own(size, beside, seed):
    rng = np.random.default_rng(seed)
    plain, lists = rng.permutation(size), side(size, seed=seed).indices.astype(np.int64)
    found = grouped(plain, lists, beside)
    assert sorted(found.tolist()) == list(range(size))
    # In loops, from the definition: an anchor is the first in the plain order that has not come.
    expected, come = [], set()
    for anchor in plain.tolist():
        if anchor not in come:
            group = [anchor, *[j for j in lists[anchor].tolist() if j >= 0 and j not in come][:beside]]
            come |= set(group)
            expected += group
    assert found.tolist() == expected


def test_neighbours_meet_far_more_often(shards):
    """Of samples that are alike in fours, as people are alike in expressions."""
    four = np.arange(SIZE)[:, None] // 4 * 4 + np.arange(4)
    others = four[four != np.arange(SIZE)[:, None]].reshape(SIZE, 3)
    lists = np.where(others < SIZE, others, -1).astype(np.int32)
    shares = ((lists >= 0) / np.maximum((lists >= 0).sum(1, keepdims=True), 1)).astype(np.float32)
    one = Side(lists, shares, np.full((SIZE, 1), -1, np.int32))
    made = TogetherSet(shards, Neighbours(one, one, shards.sha), 3)
    plain, together = shards.order(1, 8).epoch(2), made.order(1, 8).epoch(2)

    def beside(order):
        place = np.argsort(order)
        return ((abs(place[lists] - place[:, None]) <= 3) & (lists >= 0)).any(1).mean()

    assert beside(together) == pytest.approx(40 / 41)  # sample 40 is alone
    assert beside(plain) < 0.6


def test_no_neighbours_beside_is_the_plain_order(shards):
    made = TogetherSet(shards, table(shards.sha), 0)
    for one, other in zip(made.order(3, 2).slice(5, 130), shards.order(3, 2).slice(5, 130), strict=True):
        assert np.array_equal(one, other)


def test_slices_agree_with_epochs_and_seeds_differ(shards):
    order = TogetherSet(shards, table(shards.sha), 2).order(3, 2)
    whole = np.concatenate([order.epoch(epoch) for epoch in range(3)])
    epochs, found = order.slice(30, 100)
    assert np.array_equal(found, whole[30:100])
    assert np.array_equal(epochs, np.arange(30, 100) // SIZE)
    assert not np.array_equal(order.epoch(0), order.epoch(1))
    assert not np.array_equal(TogetherSet(shards, table(shards.sha), 2).order(4, 2).epoch(0), order.epoch(0))


def test_the_sha_of_the_set_holds_the_table(shards):
    makes = [(table(shards.sha), 2), (table(shards.sha), 3), (table(shards.sha, seed=1), 2)]
    shas = {TogetherSet(shards, made, beside).sha for made, beside in makes} | {shards.sha}
    assert len(shas) == 4


@pytest.mark.parametrize(("world", "accumulate", "workers"), [(1, 1, 0), (2, 1, 0), (1, 2, 1), (4, 2, 0)])
def test_global_batches_are_the_same_on_any_ranks_and_resumed(shards, world, accumulate, workers):
    """Batch k is the positions [16 k, 16 (k + 1)) of the order, over epochs, also from the middle on."""
    made = TogetherSet(shards, table(shards.sha), 2)
    for start in (0, 3):
        steps = 6 - start
        parts = []
        for rank in range(world):
            stream = Stream(
                made, show, collate_plain, seed=5, global_batch=16, accumulate=accumulate, rank=rank,
                world=world, start=start * 16, steps=steps, workers=workers,
            )  # fmt: skip
            parts.append([batch["index"].tolist() for batch in stream])
        got = [
            [
                index
                for part in range(accumulate)
                for rank in range(world)
                for index in parts[rank][step * accumulate + part]
            ]
            for step in range(steps)
        ]  # fmt: skip
        expected = made.order(5, 8).slice(start * 16, 96)[1].reshape(-1, 16).tolist()
        assert got == expected


def test_a_set_fetched_by_whole_shards_is_refused(shards):
    class Reading:
        ranges = False

    class Files:
        reading = Reading()

    remote = ShardSet(shards.folder)
    remote.remote = Files()
    with pytest.raises(DataError, match=r"data\.remote\.fetch=range"):
        TogetherSet(remote, table(shards.sha), 2)


def test_facts_are_plain_json(tmp_path):
    neighbours.save(table(), tmp_path / "t")
    assert json.dumps(dict(neighbours.load(tmp_path / "t").facts)) == '{"k": 3, "rule": "consensus"}'
