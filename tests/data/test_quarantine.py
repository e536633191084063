"""Damaged samples are counted with a reason, leave a batch its shape, and stop a run beyond a share."""

from __future__ import annotations

import json

import pytest

from mien.data import index
from mien.data.collate import collate_plain
from mien.data.quarantine import Fault, Quarantine
from mien.data.reader import ShardSet
from mien.data.stream import EvalStream, Stream
from mien.errors import DataError

from .toys import show, write_set

SAMPLES = 20
BAD = {3: "image is neither a JPEG nor a PNG", 11: "json is not valid"}


@pytest.fixture
def shards(tmp_path):
    """20 samples; 3 has a broken image, 11 a broken record."""
    folder = write_set(tmp_path / "set", SAMPLES, 5)
    for number, mark in ((3, b"\xff\xd8"), (11, b'{"uid"')):
        shard = index.load(folder).shards[number // 5]
        data = bytearray((folder / shard.file).read_bytes())
        place = data.index(mark, int(shard.offsets[number % 5]))
        data[place : place + 2] = b"??"
        (folder / shard.file).write_bytes(bytes(data))
    return ShardSet(folder)


def stream(shards, quarantine, **more):
    options = {"seed": 1, "global_batch": 8, "steps": 5} | more
    return Stream(shards, show, collate_plain, quarantine=quarantine, **options)


def ledger_of(shards, path, fraction=0.1):
    return Quarantine(path, sha=shards.sha, size=len(shards), fraction=fraction)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("workers", [0, 2])
def test_shape_stays_and_reasons_are_kept(shards, tmp_path, workers):
    quarantine = ledger_of(shards, tmp_path / "run" / "quarantine.jsonl")
    lost = 0
    for batch in stream(shards, quarantine, workers=workers):  # two epochs: each bad sample is met twice
        assert batch["img"].shape == (8, 3, 16, 16)
        assert batch["uid"].shape == batch["valid"].shape == (8,)
        assert ((batch["index"] == -1) == ~batch["valid"]).all()
        assert not batch["img"][~batch["valid"]].any()
        lost += int((~batch["valid"]).sum())
    assert lost == 4
    assert quarantine.count == 2
    entries = {entry["index"]: entry for entry in lines(tmp_path / "run" / "quarantine.jsonl")}
    assert entries.keys() == BAD.keys()
    for number, reason in BAD.items():
        entry = entries[number]
        assert reason in entry["reason"]
        assert (entry["shard"], entry["key"]) == (f"shard-{number // 5:05d}.tar", f"s{number:04d}")


def test_good_samples_are_the_same_beside_damaged_ones(shards, tmp_path):
    whole = ShardSet(write_set(tmp_path / "whole", SAMPLES, 5))
    pairs = zip(stream(whole, None), stream(shards, ledger_of(shards, None)), strict=True)
    for good, bad in pairs:
        keep = bad["valid"]
        for key in ("img", "draw", "index", "epoch"):
            assert (good[key][keep] == bad[key][keep]).all()
        assert set(good["index"][~keep].tolist()) <= BAD.keys()


def test_a_restart_does_not_count_twice(shards, tmp_path):
    path = tmp_path / "quarantine.jsonl"
    for start in (0, 16, 40):
        quarantine = ledger_of(shards, path)
        assert quarantine.count == (0 if start == 0 else 2)
        list(stream(shards, quarantine, start=start))
        assert quarantine.count == 2
        assert sorted(entry["index"] for entry in lines(path)) == [3, 11]


@pytest.mark.parametrize("workers", [0, 1])
def test_beyond_the_share_the_run_stops_and_so_does_its_restart(shards, tmp_path, workers):
    path = tmp_path / "quarantine.jsonl"
    for _ in range(2):
        with pytest.raises(
            DataError, match=r"2 of 20 samples are damaged, more than 0\.09 of the set"
        ) as caught:
            list(stream(shards, ledger_of(shards, path, 0.09), workers=workers))
        assert caught.value.where == str(path)
        assert "data.quarantine_fraction" in caught.value.fix
        assert "\n" not in str(caught.value)
    assert len(lines(path)) == 2


def test_without_a_quarantine_the_first_damaged_sample_stops(shards):
    with pytest.raises(DataError, match="1 of 20 samples are damaged"):
        list(stream(shards, None))
    with pytest.raises(DataError, match="neither a JPEG nor a PNG"):
        list(EvalStream(shards, show, collate_plain, batch=4))


def test_evaluation_with_a_quarantine_goes_on(shards):
    quarantine = ledger_of(shards, None)
    valid = [
        batch["valid"] for batch in EvalStream(shards, show, collate_plain, batch=5, quarantine=quarantine)
    ]
    assert sum(int(flags.sum()) for flags in valid) == 18
    assert quarantine.count == 2


def test_nothing_readable_in_a_whole_batch(tmp_path):
    folder = write_set(tmp_path / "set", 2, 2)
    data = (folder / "shard-00000.tar").read_bytes().replace(b"\xff\xd8\xff", b"???")
    (folder / "shard-00000.tar").write_bytes(data)
    shards = ShardSet(folder)
    with pytest.raises(DataError):
        list(Stream(shards, show, collate_plain, seed=0, global_batch=2, steps=1))
    with pytest.raises(DataError, match="no readable sample in a whole micro-batch"):
        list(stream(shards, ledger_of(shards, None, 1.0), global_batch=2, steps=1))


def test_ranks_share_a_ledger(tmp_path):
    path = tmp_path / "quarantine.jsonl"
    ranks = [Quarantine(path, sha="a" * 64, size=10, fraction=0.3) for _ in range(3)]
    ranks[0].record([Fault(1, "s.tar", "k1", "torn")])
    ranks[1].record([Fault(2, "s.tar", "k2", "torn"), Fault(1, "s.tar", "k1", "torn")])
    assert ranks[1].count == 2
    ranks[2].record([Fault(3, "s.tar", "k3", "torn")])
    assert ranks[2].count == 3
    with pytest.raises(DataError, match="4 of 10"):
        ranks[0].record([Fault(4, "s.tar", "k4", "torn")])


def test_sets_in_one_ledger_are_told_apart(tmp_path):
    path = tmp_path / "quarantine.jsonl"
    Quarantine(path, sha="a" * 64, size=10, fraction=1).record([Fault(1, "s.tar", "k", "torn")])
    assert Quarantine(path, sha="b" * 64, size=10, fraction=1).count == 0
    assert Quarantine(path, sha="a" * 64, size=10, fraction=1).count == 1


@pytest.mark.parametrize("torn", [b'{"set": "aaaaaaaaaaaaaaaa", "ind', b"[1]\n", b"\xff\xfe\n", b"null\n"])
def test_a_line_torn_by_a_crash_costs_only_itself(tmp_path, torn):
    path = tmp_path / "quarantine.jsonl"
    Quarantine(path, sha="a" * 64, size=10, fraction=1).record([Fault(1, "s.tar", "k", "torn")])
    with path.open("ab") as file:
        file.write(torn)
    again = Quarantine(path, sha="a" * 64, size=10, fraction=1)
    assert again.count == 1
    again.record([Fault(2, "s.tar", "k", "torn")])
    assert Quarantine(path, sha="a" * 64, size=10, fraction=1).count == 2
