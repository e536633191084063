"""Parts share no person, keep the classes in proportion, and come out the same again."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import webdataset

from mien.data import index
from mien.data.check import check
from mien.data.reader import ShardSet
from mien.data.split import FILE, deal, parse_parts, split
from mien.data.writer import ShardWriter
from mien.errors import DataError

from .toys import members, write_set

PARTS = {"train": 0.6, "val": 0.2, "test": 0.2}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """100 samples of 25 persons."""
    return write_set(tmp_path_factory.mktemp("split") / "set", 100, 30)


def values(folder, key):
    return [sample.record[key] for sample in ShardSet(folder)]


def test_parts_of_a_set(source, tmp_path):
    folders = split(source, tmp_path / "out", parts=PARTS, seed=1, samples_per_shard=25)
    assert folders == {name: tmp_path / "out" / name for name in PARTS}
    assert all(check(folder).ok for folder in folders.values())
    groups = [set(values(folder, "group")) for folder in folders.values()]
    assert not any(a & b for a, b in itertools.combinations(groups, 2))
    everything = {sample.key: dict(sample.members) for sample in ShardSet(source)}
    found = [(s.key, dict(s.members)) for folder in folders.values() for s in ShardSet(folder)]
    assert len(found) == 100
    assert dict(found) == everything
    for folder in folders.values():  # in the order of the set
        assert (keys := [sample.key for sample in ShardSet(folder)]) == sorted(keys)
    table = json.loads((tmp_path / "out" / FILE).read_text())
    assert (table["source"], table["by"], table["seed"]) == (ShardSet(source).sha, "group", 1)
    for name, folder in folders.items():
        assert abs(len(ShardSet(folder)) - 100 * PARTS[name]) <= 4
        assert table["parts"][name]["samples"] == len(ShardSet(folder))
        assert table["parts"][name]["groups"] == len(set(values(folder, "group")))
        assert sum(table["parts"][name]["labels"].values()) == len(ShardSet(folder))


def test_same_seed_same_bytes_another_seed_another_split(source, tmp_path):
    shas = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        folders = split(source, tmp_path / name, parts=PARTS, seed=seed)
        shas.append([ShardSet(folder).sha for folder in folders.values()])
    assert shas[0] == shas[1]
    assert shas[0] != shas[2]


def test_by_another_key(source, tmp_path):
    folders = split(source, tmp_path / "uid", parts=PARTS, by="uid")
    assert [len(ShardSet(folder)) for folder in folders.values()] == [60, 20, 20]
    folders = split(source, tmp_path / "label", parts={"a": 0.5, "b": 0.5}, by="label")
    assert not set(values(folders["a"], "label")) & set(values(folders["b"], "label"))


@pytest.mark.parametrize("case", range(20))
def test_deal_keeps_classes_even(case):
    """Of many small groups each part gets its share of every class, rare ones too, within a group or two."""
    rng = np.random.default_rng(case)
    classes, parts = int(rng.integers(1, 8)), int(rng.integers(2, 6))
    rates = rng.dirichlet(np.full(classes, 0.5)) * 3
    counts = rng.poisson(rates, (600, classes))
    counts = counts[counts.sum(1) > 0].astype(np.int64)
    fractions = rng.dirichlet(np.full(parts, 4.0)) * 0.7 + 0.3 / parts
    found = deal(counts, fractions, seed=case)
    held = np.stack([counts[found == part].sum(0) for part in range(parts)])
    assert (held.sum(0) == counts.sum(0)).all()
    assert np.abs(held - fractions[:, None] * counts.sum(0)).max() <= 2 * counts.max() + 1


def test_deal_with_one_giant():
    """A person with half of the samples goes where there is room; the rest fills the other parts."""
    counts = np.array([[50], *[[1]] * 50])
    found = deal(counts, np.array([0.5, 0.25, 0.25]), seed=0)
    assert found[0] == 0
    assert np.bincount(found, weights=counts[:, 0]).tolist() == [50, 25, 25]


def test_keys_of_others_become_plain(source, tmp_path):
    (tmp_path / "set").mkdir()
    with webdataset.TarWriter(str(tmp_path / "set" / "a.tar")) as sink:
        for number in range(8):
            sink.write({"__key__": f"film {number // 4}/té/{number}", **members(number)})
    index.save(index.build(tmp_path / "set"), tmp_path / "set")
    folders = split(tmp_path / "set", tmp_path / "out", parts={"a": 0.5, "b": 0.5})
    assert [s.key for s in ShardSet(folders["a"])] + [s.key for s in ShardSet(folders["b"])]
    assert all(check(folder).ok for folder in folders.values())


@pytest.mark.parametrize(
    ("parts", "by", "message"),
    [
        ({"a": 0.5, "b": 0.6}, "group", r"shares add up to 1\.1"),
        ({"a": 1.0, "b": 0.0}, "group", r"part b is 0\.0"),
        ({"a": 1.5, "b": -0.5}, "group", r"part a is 1\.5"),
        ({"a": float("nan")}, "group", "part a is nan"),
        ({}, "group", "shares add up to 0"),
        ({"../a": 1.0}, "group", "part name"),
        ({"a": 1.0}, "person", "no text or whole number 'person'.*split by one of: uid, label, group"),
        ({"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.05}, "label", "nothing is left for .*the set has 3 values"),
    ],
)
def test_faults(source, tmp_path, parts, by, message):
    with pytest.raises(DataError, match=message):
        split(source, tmp_path / "out", parts=parts, by=by)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_sample_stops_and_leaves_nothing(tmp_path):
    folder = write_set(tmp_path / "set", 12, 4)
    path = folder / "shard-00001.tar"
    path.write_bytes(path.read_bytes().replace(b'"label"', b'"lebal"', 1))
    with pytest.raises(DataError, match=r"shard-00001\.tar: s0004: json does not fit labelled/1: `label`"):
        split(folder, tmp_path / "out", parts={"a": 0.5, "b": 0.5})
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    with pytest.raises(DataError, match="is not empty"):
        split(folder, folder, parts={"a": 0.5, "b": 0.5})


def test_parts_of_the_command_line():
    assert parse_parts("train=0.8, test=0.2") == {"train": 0.8, "test": 0.2}
    for text in ("", "train", "train=", "train=x", "a=0.5,a=0.5", "a=nan", "=1", "a=0.5"):
        with pytest.raises(DataError):
            parse_parts(text)


def test_captions_survive(tmp_path):
    """Nothing in a record is lost on the way, of whatever schema."""
    caption = {"text": "The lips part.", "region": "mouth", "au": [25], "intensity": None}
    with ShardWriter(tmp_path / "set", "emocap/1") as writer:
        for number in range(8):
            writer.write(
                f"k{number}", members(number, **{"global": "A smile.", "summary": None, "locals": [caption]})
            )
    folders = split(tmp_path / "set", tmp_path / "out", parts={"a": 0.5, "b": 0.5})
    for folder in folders.values():
        assert ShardSet(folder).schema == "emocap/1"
        assert values(folder, "locals") == [[caption]] * 4
