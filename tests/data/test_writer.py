"""Writing is atomic and repeatable; webdataset reads what is written here, and the other way round."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import webdataset

from mien.data import index
from mien.data.check import check
from mien.data.reader import ShardSet
from mien.data.writer import ShardWriter
from mien.errors import DataError

from .bad_shards import BAD_SHARDS
from .toys import members, write_set


def test_index_round_trip(tmp_path):
    folder = write_set(tmp_path / "set", 10, 4)
    loaded = index.load(folder)
    assert (loaded.schema, loaded.samples) == ("labelled/1", 10)
    assert [shard.samples for shard in loaded.shards] == [4, 4, 2]
    before = (folder / index.FILE).read_bytes()
    index.save(loaded, folder)
    assert (folder / index.FILE).read_bytes() == before
    index.save(index.build(folder), folder)
    assert (folder / index.FILE).read_bytes() == before


def test_samples_come_back_whole_at_any_position(tmp_path):
    shards = ShardSet(write_set(tmp_path / "set", 10, 4))
    for number in np.random.default_rng(0).permutation(10).tolist():
        sample = shards.read(number)
        assert (sample.key, dict(sample.members)) == (f"s{number:04d}", members(number))
        assert shards.shard_of(number) == f"shard-{number // 4:05d}.tar"
    for outside in (-1, 10):
        with pytest.raises(IndexError):
            shards.read(outside)


def test_few_open_files_are_enough(tmp_path):
    shards = ShardSet(write_set(tmp_path / "set", 10, 1))
    shards._files.limit = 2
    assert [sample.key for sample in shards] == [f"s{number:04d}" for number in range(10)]
    assert len(shards._files._open) == 2


def test_same_samples_same_bytes(tmp_path):
    first, second = (write_set(tmp_path / name, 9, 4) for name in "ab")
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert len(names) == 4
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_a_kill_leaves_no_set(tmp_path):
    out = tmp_path / "set"
    script = f"""
import os, signal
from pathlib import Path
from mien.data.writer import ShardWriter
with ShardWriter(Path({str(out)!r}), "labelled/1", samples_per_shard=2) as writer:
    for number in range(5):
        writer.write(f"k{{number}}", {{"jpg": b"x", "json": b'{{"uid": 1, "label": "a", "group": "b"}}'}})
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert sorted(path.name for path in out.glob("*.tar")) == ["shard-00000.tar", "shard-00001.tar"]
    with pytest.raises(DataError, match=r"no index\.json"):
        ShardSet(out)
    with pytest.raises(DataError, match="already holds shards"):
        ShardWriter(out, "labelled/1")


def test_an_error_leaves_no_shard(tmp_path):
    def break_down():
        with ShardWriter(tmp_path / "set", "labelled/1", 2) as writer:
            for number in range(5):
                writer.write(f"k{number}", members(number))
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="on fire"):
        break_down()
    assert list((tmp_path / "set").iterdir()) == []


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("a/b", {}, "key is not plain"),
        ("../a", {}, "key is not plain"),
        ("a.b", {}, "key is not plain"),
        ("", {}, "key is not plain"),
        ("first", {}, "key is written twice"),
        ("k", {"pkl": b"x"}, "pickle"),
        ("k", {"json": b"[]"}, "holds a list"),
        ("k", {"json": b'{"uid": true, "label": "a", "group": "b"}'}, "`uid` is not an int64"),
        ("k", {"json": b'{"uid": 1, "label": "", "group": "b"}'}, "`label` is not a text"),
    ],
)
def test_what_is_not_written(tmp_path, key, change, message):
    with ShardWriter(tmp_path / "set", "labelled/1") as writer:
        writer.write("first", members(0))
        with pytest.raises(DataError, match=message):
            writer.write(key, members(1) | change)
    assert len(ShardSet(tmp_path / "set")) == 1


def test_what_no_writer_is_made_for(tmp_path):
    with pytest.raises(DataError, match="unknown schema"):
        ShardWriter(tmp_path, "labelled/7")
    with pytest.raises(DataError, match="0 samples a shard"):
        ShardWriter(tmp_path, "labelled/1", 0)


def test_webdataset_reads_our_sets(tmp_path):
    folder = write_set(tmp_path / "set", 10, 4)
    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"s{number:04d}" for number in range(10)]
    for number, sample in enumerate(samples):
        assert {name: sample[name] for name in ("jpg", "json")} == members(number)


def test_a_set_of_webdataset_can_be_indexed(tmp_path):
    """Folders in keys, and names so long that tarfile writes a header of their own for them."""
    keys = [
        f"train/{'very/' * 40}deep/{number:04d}" if number % 2 else f"{number:04d}" for number in range(9)
    ]
    for shard in range(3):
        with webdataset.TarWriter(str(tmp_path / f"part-{shard}.tar")) as sink:
            for number in range(shard * 3, shard * 3 + 3):
                record = json.loads(members(number)["json"])
                sink.write({"__key__": keys[number], "jpg": members(number)["jpg"], "json": record})
    index.save(index.build(tmp_path), tmp_path)
    shards = ShardSet(tmp_path)
    assert shards.schema == "labelled/1"
    for number in np.random.default_rng(1).permutation(9).tolist():
        sample = shards.read(number)
        assert sample.key == keys[number]
        assert sample.image == members(number)["jpg"]
        assert sample.record["uid"] == 1000 + number
    assert check(tmp_path).ok


@pytest.mark.parametrize(
    ("kind", "folder"),
    [
        (tarfile.USTAR_FORMAT, f"{'f' * 60}/{'g' * 60}/"),
        (tarfile.GNU_FORMAT, f"é/{'h' * 200}/"),
        (tarfile.PAX_FORMAT, f"é/{'h' * 200}/"),
    ],
)
def test_every_dialect_of_tar(tmp_path, kind, folder):
    written = write_set(tmp_path / "set", 3, 3)
    out = tmp_path / "other"
    out.mkdir()
    with (
        tarfile.open(written / "shard-00000.tar") as source,
        tarfile.open(out / "a.tar", "w", format=kind) as target,
    ):
        place = tarfile.TarInfo(folder)
        place.type = tarfile.DIRTYPE
        target.addfile(place)
        for info in source.getmembers():
            data = source.extractfile(info)
            info.name = folder + info.name
            target.addfile(info, data)
    index.save(index.build(out), out)
    assert [sample.key for sample in ShardSet(out)] == [f"{folder}s{number:04d}" for number in range(3)]
    assert [dict(sample.members) for sample in ShardSet(out)] == [members(number) for number in range(3)]


def test_a_tar_that_was_never_finished_is_not_indexed(tmp_path):
    """Cut between two samples: every header is sound, yet samples may be missing."""
    folder = write_set(tmp_path / "set", 8, 4)
    path = folder / "shard-00001.tar"
    path.write_bytes(path.read_bytes()[: int(index.load(folder).shards[1].offsets[2])])
    with pytest.raises(DataError, match=r"shard-00001\.tar: tar has no end marker"):
        index.build(folder)


@pytest.mark.parametrize("kind", ["truncated_tar", "damaged_header", "path_traversal", "symbolic_link"])
def test_a_damaged_tar_is_not_indexed(tmp_path, kind):
    folder = write_set(tmp_path / "set", 12, 4)
    BAD_SHARDS[kind](folder)
    with pytest.raises(DataError, match=r"shard-00001\.tar"):
        index.build(folder)


def test_indexing_needs_samples_of_a_known_schema(tmp_path):
    with pytest.raises(DataError, match=r"no \*\.tar files"):
        index.build(tmp_path)
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as sink:
        sink.write({"__key__": "a", "txt": "words only"})
    with pytest.raises(DataError, match="fits no schema"):
        index.build(tmp_path)
    with pytest.raises(DataError, match="unknown schema"):
        index.build(tmp_path, "nothing/1")
