"""Each set of clips: what is generated is read back, frames too."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mien.benchmarks import afew, crema_d, dfew, enterface05, ferv39k, mafw, ravdess
from mien.benchmarks.base import Item, Making
from mien.benchmarks.clip_lists import subject_fold
from mien.benchmarks.clip_making import takes
from mien.benchmarks.clips import clip_frames
from mien.benchmarks.table import BENCHMARKS, find
from mien.benchmarks.video import VIDEO
from mien.benchmarks.words import emotion
from mien.errors import DataError

HOW = Making(people=3, each=2, seed=11, size=32, frames=4)
FEW = Making(people=3, each=1, seed=11, size=32, frames=2)


def _how(name: str) -> Making:
    return FEW if name.startswith("mafw") else HOW


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    for name, benchmark in VIDEO.items():
        if name != "mafw-compound":  # the same folder as mafw
            benchmark.make(root / name, _how(name))
    return root


def _items(sets: Path, name: str) -> dict[str, Item]:
    return {item.key: item for item in VIDEO[name].open(sets / name.removesuffix("-compound"))}


def _person(index: int, classes: int, people: int = 3) -> int:
    return (index % classes + index // classes) % people


def test_names_are_in_the_order_of_the_published_table() -> None:
    names = ["dfew", "ferv39k", "mafw", "afew", "mafw-compound", "crema-d", "ravdess", "enterface05"]
    assert list(VIDEO) == names
    assert [len(VIDEO[name].classes) for name in names] == [7, 7, 11, 7, 43, 6, 8, 6]
    assert [VIDEO[name].folds for name in names] == [5, 0, 5, 0, 5, 5, 6, 5]
    assert [name for name in BENCHMARKS if name in VIDEO] == names


def test_markers_tell_the_sets_apart(sets: Path) -> None:
    found = find(sets)
    assert {name: found[name].name for name in VIDEO} == {
        name: name.removesuffix("-compound") for name in VIDEO
    }


def test_dfew(sets: Path) -> None:
    items = _items(sets, "dfew")
    assert sorted(items) == [f"{number:05d}" for number in range(1, 15)]
    for key, item in items.items():
        number = int(key)
        assert item.label == emotion(dfew.CLASSES[(number - 1) % 7])
        assert (item.split, item.fold, item.group) == ("test", (number - 1) % 5 + 1, key)
        assert len(item.media) == (4 if number % 2 else 1)


def test_dfew_clip_that_no_list_tests_is_for_training(sets: Path, tmp_path: Path) -> None:
    root = tmp_path / "dfew"
    shutil.copytree(sets / "dfew", root)
    path = root / "EmoLabel_DataSplit" / "test(single-labeled)" / "set_1.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    found = Counter((item.split, item.fold) for item in VIDEO["dfew"].open(root))
    assert found["train", 0] == 1
    assert found["test", 1] == 2


def test_ferv39k(sets: Path) -> None:
    items = _items(sets, "ferv39k")
    assert Counter(item.split for item in items.values()) == {"train": 7, "test": 7}
    for index in range(14):
        label = ferv39k.CLASSES[index % 7]
        key = f"{('Action', 'Crime')[index // 7]}/{label.capitalize()}/{index + 1:04d}"
        item = items[key]
        assert (item.label, item.fold, len(item.media)) == (emotion(label), 0, 4)
        assert item.split == ("test" if index >= 7 else "train")


def test_mafw_uses_share_a_folder(sets: Path) -> None:
    single, both = _items(sets, "mafw"), _items(sets, "mafw-compound")
    assert [single[key].label for key in sorted(single)] == list(mafw.SINGLE)
    assert len(both) == 43
    assert {*single} < {*both}
    for index, label in enumerate(mafw.COMPOUND):
        number = index + 1 + (0 if index < 11 else 20000)
        item = both[f"{number:05d}"]
        assert (item.label, item.fold) == (label, (number - 1) % 5 + 1)
        assert item.text is not None
        assert item.text.startswith(f"A person shows {label}: ")


def test_mafw_classes_are_single_ones_and_their_mixtures() -> None:
    parts = VIDEO["mafw-compound"].parts
    assert Counter(map(len, parts.values())) == {1: 11, 2: 23, 3: 9}
    assert len({frozenset(each) for each in parts.values()}) == 43
    assert {part for each in parts.values() for part in each} == {*mafw.SINGLE}
    assert parts["anger and disgust and anxiety"] == ("anger", "disgust", "anxiety")


def test_mafw_reads_captions_as_the_owner_shows_them(sets: Path, tmp_path: Path) -> None:
    root = tmp_path / "mafw"
    shutil.copytree(sets / "mafw", root)
    told = root / "Train & Test Set" / "single" / "with_caption"
    shutil.rmtree(told)
    assert {item.text for item in VIDEO["mafw"].open(root)} == {None}
    (told / "set_1").mkdir(parents=True)
    (told / "set_1" / "test.txt").write_text("00001.mp4  anger  <br>皱眉。 <br> A deep frown.\n", "utf-8")
    texts = {item.key: item.text for item in VIDEO["mafw"].open(root)}
    assert texts["00001"] == "A deep frown."
    assert texts["00002"] is None


def test_afew(sets: Path) -> None:
    items = _items(sets, "afew")
    for index in range(14):
        label, part = afew.CLASSES[index % 7], ("Val_AFEW", "Train_AFEW")[index // 7]
        item = items[f"{part}/{label.capitalize()}/{index + 1:09d}"]
        split = "train" if part == "Train_AFEW" else "test"
        assert (item.label, item.split) == (emotion(label), split)


def test_crema_d(sets: Path) -> None:
    items = _items(sets, "crema-d")
    codes = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    assert len(items) == 12
    assert (sets / "crema-d" / "VideoFlash" / "1064_IEO_DIS_MD.flv").is_file()
    for index in range(12):
        actor = (1001, 1031, 1061)[_person(index, 6)]
        item = items[f"{actor}_IEO_{codes[index % 6]}_XX"]
        assert (item.label, item.group) == (emotion(crema_d.CLASSES[index % 6]), str(actor))
        assert item.fold == {1001: 1, 1031: 2, 1061: 4}[actor]


def test_crema_d_prefers_mp4_to_its_double(sets: Path, tmp_path: Path) -> None:
    root = tmp_path / "crema"
    shutil.copytree(sets / "crema-d", root)
    name = "1001_IEO_ANG_XX"
    (root / "VideoFlash" / f"{name}.mp4").write_bytes(b"x")
    found = {item.key: item for item in VIDEO["crema-d"].open(root)}
    assert len(found) == 12
    assert found[name].media[0].suffix == ".mp4"


def test_ravdess(sets: Path) -> None:
    items = _items(sets, "ravdess")
    assert len(items) == 16
    for index in range(16):
        actor = (1, 9, 17)[_person(index, 8)]
        item = items[f"01-{index % 8 + 1:02d}-01-01-01-{actor:02d}"]
        assert (item.label, item.group) == (emotion(ravdess.CLASSES[index % 8]), f"{actor:02d}")
        assert item.fold == (actor - 1) // 4 + 1
        # Of doubles the one with sound.
        assert item.media[0].name.startswith("02" if index % 3 == 2 else "01")


def test_enterface05(sets: Path) -> None:
    items = _items(sets, "enterface05")
    assert len(items) == 12
    assert (sets / "enterface05" / "subject 6").is_dir()
    for index in range(12):
        subject = (1, 16, 30)[_person(index, 6)]
        label = enterface05.CLASSES[index % 6]
        item = items[f"subject {subject}/{label}/sentence 1"]
        assert (item.label, item.group) == (label, str(subject))
        assert item.fold == {1: 1, 16: 2, 30: 4}[subject]


@pytest.mark.parametrize("name", [name for name in VIDEO if name != "mafw-compound"])
def test_frames_are_those_that_were_drawn(sets: Path, name: str) -> None:
    first = {
        "dfew": "00001", "ferv39k": "Action/Happy/0001", "mafw": "00001",
        "afew": "Val_AFEW/Angry/000000001", "crema-d": "1001_IEO_ANG_XX", "ravdess": "01-01-01-01-01-01",
        "enterface05": "subject 1/anger/sentence 1",
    }  # fmt: skip
    how, classes = _how(name), VIDEO[name].classes
    drawn = next(takes(how, classes)).clip.frames
    found = clip_frames(_items(sets, name)[first[name]].media, how.frames).transpose(0, 2, 3, 1)
    assert np.abs(found.astype(float) - drawn).mean() < 14


def test_everybody_shows_every_class_equally_often() -> None:
    how = Making(people=2, each=4, size=32, frames=1)
    shown = Counter((take.person, take.label) for take in takes(how, ("happy", "sad", "angry")))
    assert shown == dict.fromkeys(
        ((person, label) for person in range(2) for label in ("happy", "sad", "angry")), 2
    )


@pytest.mark.parametrize(
    ("name", "people", "each"), [("crema-d", 91, 11), ("ravdess", 24, 4), ("enterface05", 43, 5)]
)
def test_a_maker_refuses_more_than_the_set_has_room_for(
    tmp_path: Path, name: str, people: int, each: int
) -> None:
    for how, message in (
        (Making(people=people + 1), f"making: {people + 1} people; give at most {people}"),
        (
            Making(people=2, each=2 * each + 1),
            f"making: {2 * each + 1} clips of each class; give at most {each} a person, {2 * each}",
        ),
    ):
        with pytest.raises(DataError) as caught:
            VIDEO[name].make(tmp_path / "set", how)
        assert str(caught.value) == message


def test_folds_of_the_full_sets() -> None:
    def sizes(subjects: int, folds: int) -> list[int]:
        found = [subject_fold(rank, subjects, folds) for rank in range(subjects)]
        assert found == sorted(found)
        return [found.count(fold + 1) for fold in range(folds)]

    assert sizes(91, 5) == [18, 18, 18, 18, 19]
    assert sizes(24, 6) == [4] * 6
    assert sizes(43, 5) == [8, 8, 9, 9, 9]


def test_a_maker_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk is full")

    monkeypatch.setattr(dfew, "write_pictures", broken)
    with pytest.raises(OSError, match="disk is full"):
        dfew.make(tmp_path / "set", FEW)
    assert list(tmp_path.iterdir()) == []


def test_a_maker_refuses_a_folder_in_use_and_odd_sizes(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("keep")
    with pytest.raises(DataError) as caught:
        afew.make(tmp_path / "set", HOW)
    assert str(caught.value).endswith("set: folder is not empty; give another folder or empty it")
    with pytest.raises(DataError, match=r"making: frames of 33 pixels; give 32 to 1024, even"):
        afew.make(tmp_path / "new", Making(size=33))
    assert (tmp_path / "set" / "mine.txt").read_text() == "keep"
    assert not (tmp_path / "new").exists()
