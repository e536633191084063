"""Every kind of bad shard gives one clear line; a sound set gives none."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from mien.data.check import CheckError, check
from mien.data.decode import decode_sample
from mien.data.index import FILE
from mien.data.reader import ShardSet
from mien.data.writer import ShardWriter
from mien.errors import DataError

from .bad_shards import BAD_SHARDS, ONLY_CHECK, SHARD, write_good
from .toys import members, write_set

LINES = {
    "truncated_tar": rf"{SHARD}: shard is cut short: \d+ bytes, index states \d+",
    "truncated_tar_that_the_index_fits": rf"{SHARD}: tar is cut short at byte \d+",
    "flipped_bit": rf"{SHARD}: content has changed: SHA-256",
    "damaged_header": rf"{SHARD}: no tar header at byte \d+",
    "member_of_8_GiB": rf"{SHARD}: member of 8589934591 bytes",
    "missing_shard": rf"{SHARD}: shard file is missing",
    "missing_index": r"index.json: no index.json",
    "index_not_json": r"index.json: not valid JSON",
    "index_not_utf8": r"index.json: not valid JSON: 'utf-8'",
    "index_of_another_format": r"index.json: index format 99, this version reads 1",
    "index_of_another_schema": r"index.json: unknown schema 'labelled/99'",
    "index_of_nothing": r"index.json: the set is empty",
    "index_with_a_path": r"index.json: shard entry has a wrong type or a path",
    "offset_outside_the_file": r"index.json: `offsets` do not rise in whole blocks inside the file",
    "offset_inside_a_sample": rf"{SHARD}: sample 1 begins at byte \d+, index states \d+ \(1 wrong",
    "pickle_member": rf"{SHARD}: sample 1 's0005': member .pkl is a pickle",
    "pickled_array": rf"{SHARD}: sample 1 's0005': member .npy is not a plain array",
    "member_of_unknown_kind": rf"{SHARD}: sample 1 's0005': member .exe is not a plain format",
    "missing_image": rf"{SHARD}: sample 1 's0005': sample without an image",
    "undecodable_jpeg": rf"{SHARD}: sample 1 's0005': image ",
    "image_that_is_text": rf"{SHARD}: sample 1 's0005': image is neither a JPEG nor a PNG",
    "pixel_bomb": rf"{SHARD}: sample 1 's0005': image too large: 60000 x 60000 pixels",
    "broken_json": rf"{SHARD}: sample 1 's0005': json is not valid",
    "json_not_utf8": rf"{SHARD}: sample 1 's0005': json is not UTF-8",
    "json_too_deep": rf"{SHARD}: sample 1 's0005': json is not valid",
    "record_without_label": rf"{SHARD}: sample 1 's0005': json does not fit labelled/1: `label`",
    "uid_beyond_int64": rf"{SHARD}: sample 1 's0005': json does not fit labelled/1: `uid`",
    "path_traversal": rf"{SHARD}: member '../../outside/s0005.jpg' leads out of the folder",
    "absolute_path": rf"{SHARD}: member '/tmp/s0005.jpg' leads out of the folder",
    "control_characters": rf"{SHARD}: member 's0005\\x1b\[2J.jpg' has control characters",
    "symbolic_link": rf"{SHARD}: member 's0005.png' is a symbolic link",
    "duplicate_key": rf"{SHARD}: sample 4 's0000': key is also that of shard-00000.tar sample 0",
    "duplicate_uid": rf"{SHARD}: sample 4 's0050': uid 1000 is also that of shard-00000.tar sample 0",
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_good(tmp_path_factory.mktemp("good") / "set")


@pytest.fixture
def copy(good, tmp_path):
    return shutil.copytree(good, tmp_path / "set")


def read_all(folder):
    for sample in ShardSet(folder):
        assert sample.record
        decode_sample(sample)


def test_a_sound_set_has_no_problem(good):
    read_all(good)
    report = check(good)
    assert report.ok
    assert not report.notes
    assert (report.samples, report.shards, report.schema) == (12, 3, "labelled/1")
    assert str(report).endswith("labelled/1: ok")
    report.raise_if_bad()


def test_there_are_ten_kinds_and_each_has_its_line():
    assert len(BAD_SHARDS) >= 10
    assert LINES.keys() == BAD_SHARDS.keys()


@pytest.mark.parametrize("kind", BAD_SHARDS)
def test_check_gives_one_clear_line(kind, copy):
    BAD_SHARDS[kind](copy)
    report = check(copy)
    lines = [str(problem) for problem in report.problems]
    assert len(lines) == 1, lines
    assert re.match(LINES[kind], lines[0]), lines[0]
    with pytest.raises(CheckError) as caught:
        report.raise_if_bad()
    message = str(caught.value)
    assert message.startswith(str(copy))
    assert "\n" not in message
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize("kind", [kind for kind in BAD_SHARDS if kind not in ONLY_CHECK])
def test_the_reader_refuses_it_too(kind, copy):
    BAD_SHARDS[kind](copy)
    with pytest.raises(DataError) as caught:
        read_all(copy)
    assert str(caught.value).count("\n") == 0
    assert caught.value.where
    assert caught.value.fix


def test_all_problems_at_once(copy):
    """Damage in three shards, two faults in one of them."""
    BAD_SHARDS["pickle_member"](copy)
    (copy / "shard-00000.tar").unlink()
    data = bytearray((copy / "shard-00002.tar").read_bytes())
    data[data.index(b"\xff\xd8")] = 0  # no longer a JPEG, and no longer what the index says
    (copy / "shard-00002.tar").write_bytes(bytes(data))
    report = check(copy)
    assert [problem.shard[:11] for problem in report.problems] == [
        "shard-00000",
        "shard-00001",
        "shard-00002",
        "shard-00002",
    ]
    assert str(report).endswith("4 problems")


def test_shallow_check_sees_the_files_but_not_the_samples(copy):
    BAD_SHARDS["broken_json"](copy)
    assert check(copy, deep=False).ok
    BAD_SHARDS["flipped_bit"](copy)
    assert not check(copy, deep=False).ok


def test_a_stray_tar_is_a_note(tmp_path):
    folder = write_set(tmp_path / "set", 4, 2)
    shutil.copy(folder / "shard-00001.tar", folder / "shard-00007.tar")
    report = check(folder)
    assert report.ok
    assert [str(note) for note in report.notes] == ["shard-00007.tar: is not in the index"]


def test_the_same_picture_twice_is_a_note(tmp_path):
    with ShardWriter(tmp_path / "set", "labelled/1") as writer:
        writer.write("a", members(1))
        writer.write("b", members(1, uid=7, group="someone else"))
    report = check(tmp_path / "set")
    assert report.ok
    assert str(report.notes[0]) == "shard-00000.tar: sample 1 'b': same image as shard-00000.tar sample 0"


def test_no_folder(tmp_path):
    report = check(tmp_path / "absent")
    assert [str(problem) for problem in report.problems] == ["index.json: no such folder"]


def test_many_problems_are_cut(tmp_path):
    folder = write_set(tmp_path / "set", 70, 1)
    for number in range(60):
        (folder / f"shard-{number:05d}.tar").unlink()
    with pytest.raises(CheckError) as caught:
        check(folder).raise_if_bad()
    assert str(caught.value).splitlines()[-1] == f"{folder}: and 10 more"
    assert json.loads((folder / FILE).read_text())["samples"] == 70
