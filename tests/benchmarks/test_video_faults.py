"""Copies of clip sets that are not as published: one line that names the place and the mending."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.benchmarks.base import Making
from mien.benchmarks.video import VIDEO
from mien.errors import DataError
from mien.faces import motion

OWNER = "take the set as its owner publishes it"
UNPACK = "unpack the set again"
HOW = Making(people=2, each=2, seed=1, size=32, frames=1)

Break = Callable[[Path], None]
CASES: list[tuple[str, str, Break, str]] = []


def _case(benchmark: str, what: str, broken: Break, message: str) -> None:
    CASES.append((benchmark, what, broken, message))


def _write(name: str, text: str) -> Break:
    def broken(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")

    return broken


def _line(name: str, number: int, text: str) -> Break:
    """Line `number`, from 1, of a list becomes `text`; one after the last is added."""

    def broken(root: Path) -> None:
        lines = (root / name).read_text("utf-8").splitlines()
        lines[number - 1 : number] = [text]
        (root / name).write_text("\n".join(lines), "utf-8")

    return broken


def _remove(name: str) -> Break:
    def broken(root: Path) -> None:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return broken


def _clear(name: str = ".") -> Break:
    def broken(root: Path) -> None:
        shutil.rmtree(root / name)
        (root / name).mkdir()

    return broken


LIST = "EmoLabel_DataSplit/test(single-labeled)/set_{}.csv"
LIST1 = LIST.format(1)
ROW = "a number of a clip and a label, such as 12,3"
_case(
    "dfew", "fold file missing", _remove(LIST.format(2)), f"{{}}/{LIST.format(2)}: list is missing; {OWNER}"
)
_case(
    "dfew", "absent clip", _remove("Clip/clip_224x224/clip_224x224/00001"),
    f"{{}}/{LIST1}, line 2: 00001 lacks its file {{}}/Clip/original/00001.mp4; {UNPACK}",
)  # fmt: skip
_case(
    "dfew", "unknown label", _line(LIST1, 2, "1,8"), f"{{}}/{LIST1}, line 2: label 8 is not 1 to 7; {OWNER}"
)
_case("dfew", "broken csv", _line(LIST1, 3, "6;6"), f"{{}}/{LIST1}, line 3: '6;6' is not {ROW}; {OWNER}")
_case("dfew", "traversal", _line(LIST1, 2, "../1,1"), f"{{}}/{LIST1}, line 2: '../1,1' is not {ROW}; {OWNER}")
_case(
    "dfew", "no header", _line(LIST1, 1, "1,1"),
    f"{{}}/{LIST1}, line 1: columns are '1,1', not 'video_name,label'; {OWNER}",
)  # fmt: skip
_case(
    "dfew", "tested twice", _line(LIST.format(2), 2, "1,1"),
    f"{{}}/{LIST.format(2)}, line 2: 00001 is tested before: "
    f"test(single-labeled)/set_1.csv, line 2; {OWNER}",
)  # fmt: skip
_case(
    "dfew", "frames gone", _clear("Clip/clip_224x224/clip_224x224/00001"),
    f"{{}}/Clip/clip_224x224/clip_224x224/00001: folder holds no frames; {UNPACK}",
)  # fmt: skip
_case(
    "dfew", "empty folder", _clear(),
    f"{{}}/EmoLabel_DataSplit/train(single-labeled)/set_1.csv: list is missing; {OWNER}",
)  # fmt: skip

ALL = "4_setups/All_scenes/test_All.csv"
ROW = "a clip and a label, such as Action/Sad/0010 Sad"
_case("ferv39k", "list missing", _remove(ALL), f"{{}}/{ALL}: list is missing; {OWNER}")
_case("ferv39k", "list empty", _write(ALL, "\n"), f"{{}}/{ALL}: list is empty; {OWNER}")
_case(
    "ferv39k", "absent clip", _remove("2_ClipsforFaceCrop/Crime/Happy/0008"),
    f"{{}}/{ALL}, line 1: Crime/Happy/0008 lacks its file {{}}/2_ClipsforFaceCrop/Crime/Happy/0008; {UNPACK}",
)  # fmt: skip
_case(
    "ferv39k", "unknown emotion", _line(ALL, 2, "Crime/Joy/0009 Joy"),
    f"{{}}/{ALL}, line 2: unknown emotion 'Joy'; {OWNER}",
)  # fmt: skip
_case(
    "ferv39k", "traversal", _line(ALL, 2, "../x/Sad/0009 Sad"),
    f"{{}}/{ALL}, line 2: '../x/Sad/0009 Sad' is not {ROW}; {OWNER}",
)  # fmt: skip
_case(
    "ferv39k", "contradiction", _line(ALL, 2, "Crime/Sad/0009 Fear"),
    f"{{}}/{ALL}, line 2: folder 'Sad' and label 'Fear' contradict each other; {OWNER}",
)  # fmt: skip
_case(
    "ferv39k", "in both lists", _line(ALL, 2, "Action/Happy/0001 Happy"),
    f"{{}}/{ALL}, line 2: Action/Happy/0001 is listed before, in train_All.csv; {OWNER}",
)  # fmt: skip

ROW = "a clip and a label, such as 00025.mp4 anger"
for name, use in (("mafw", "single"), ("mafw-compound", "compound")):
    SET = f"Train & Test Set/{use}/no_caption/set_{{}}/test.txt"
    SET1 = SET.format(1)
    _case(
        name, "fold file missing", _remove(SET.format(4)), f"{{}}/{SET.format(4)}: list is missing; {OWNER}"
    )
    _case(
        name, "absent clip", _remove("data/clips/00001.mp4"),
        f"{{}}/{SET1}, line 1: 00001 lacks its file {{}}/data/clips/00001.mp4; {UNPACK}",
    )  # fmt: skip
    _case(
        name, "unknown emotion", _line(SET1, 1, "00001.mp4 anger_joy"),
        f"{{}}/{SET1}, line 1: unknown emotion 'anger_joy'; {OWNER}",
    )  # fmt: skip
    _case(
        name, "traversal", _line(SET1, 1, "../00001.mp4 anger"),
        f"{{}}/{SET1}, line 1: '../00001.mp4 anger' is not {ROW}; {OWNER}",
    )  # fmt: skip
    _case(
        name,
        "no label",
        _line(SET1, 1, "00001.mp4"),
        f"{{}}/{SET1}, line 1: '00001.mp4' is not {ROW}; {OWNER}",
    )
    _case(
        name, "label changes", _line(SET1, 1, "00001.mp4 fear"),
        f"{{}}/{SET.format(2).replace('test', 'train')}, line 1: 00001 is 'anger' here and 'fear' in "
        f"set_1/test.txt, line 1; {OWNER}",
    )  # fmt: skip
    _case(
        name, "in both lists", _line(SET1.replace("test", "train"), 1, "00001.mp4 anger"),
        f"{{}}/{SET1.replace('test', 'train')}, line 1: 00001 is in the test list of fold 1, too; {OWNER}",
    )  # fmt: skip

EMOTIONS = "angry, disgust, fear, happy, neutral, sad, surprise"
_case("afew", "no validation part", _remove("Val_AFEW"), f"{{}}/Val_AFEW: folder is missing; {OWNER}")
_case("afew", "empty folder", _clear(), f"{{}}/Val_AFEW: folder is missing; {OWNER}")
_case("afew", "class missing", _remove("Val_AFEW/Sad"), f"{{}}/Val_AFEW/Sad: folder is missing; {OWNER}")
_case(
    "afew",
    "class empty",
    _clear("Train_AFEW/Sad"),
    f"{{}}/Train_AFEW/Sad: folder holds no .avi file; {UNPACK}",
)
_case(
    "afew", "unknown emotion", _write("Val_AFEW/Joy/1.avi", "x"),
    f"{{}}/Val_AFEW/Joy: unknown emotion 'Joy'; one of: {EMOTIONS}",
)  # fmt: skip

FLASH = "VideoFlash"
_case("crema-d", "empty folder", _clear(), f"{{}}/{FLASH}: folder is missing; {OWNER}")
_case("crema-d", "no clips", _clear(FLASH), f"{{}}/{FLASH}: folder holds no .flv or .mp4 file; {UNPACK}")
_case(
    "crema-d", "name", _write(f"{FLASH}/1001-DFA-ANG.flv", "x"),
    f"{{}}/{FLASH}/1001-DFA-ANG.flv: name is not ACTOR_SENTENCE_EMOTION_LEVEL; as 1001_DFA_ANG_XX.flv",
)  # fmt: skip
_case(
    "crema-d", "unknown emotion", _write(f"{FLASH}/1001_DFA_JOY_XX.flv", "x"),
    f"{{}}/{FLASH}/1001_DFA_JOY_XX.flv: unknown emotion 'JOY'; one of: ANG, DIS, FEA, HAP, NEU, SAD",
)  # fmt: skip
_case(
    "crema-d", "unknown actor", _write(f"{FLASH}/1092_DFA_ANG_XX.flv", "x"),
    f"{{}}/{FLASH}/1092_DFA_ANG_XX.flv: unknown actor 1092; actors are 1001 to 1091",
)  # fmt: skip

_case("ravdess", "empty folder", _clear(), f"{{}}: no folder Actor_01 to Actor_24; {UNPACK}")
_case("ravdess", "no clips", _clear("Actor_01"), f"{{}}/Actor_01: folder holds no .mp4 file; {UNPACK}")
_case(
    "ravdess", "name", _write("Actor_01/01-01-03-01.mp4", "x"),
    "{}/Actor_01/01-01-03-01.mp4: name is not seven numbers; as 01-01-03-01-02-01-01.mp4",
)  # fmt: skip
_case(
    "ravdess", "unknown emotion", _write("Actor_01/01-01-09-01-01-01-01.mp4", "x"),
    "{}/Actor_01/01-01-09-01-01-01-01.mp4: unknown emotion '09'; emotions are 01 to 08",
)  # fmt: skip
_case(
    "ravdess", "unknown actor", _write("Actor_01/01-01-01-01-01-01-25.mp4", "x"),
    "{}/Actor_01/01-01-01-01-01-01-25.mp4: unknown actor '25'; actors are 01 to 24",
)  # fmt: skip
_case(
    "ravdess", "wrong folder", _write("Actor_01/01-01-01-01-01-01-02.mp4", "x"),
    f"{{}}/Actor_01/01-01-01-01-01-01-02.mp4: clip of actor 02 in folder Actor_01; {OWNER}",
)  # fmt: skip

EMOTIONS = "anger, disgust, fear, happiness, sadness, surprise"
_case("enterface05", "empty folder", _clear(), f"{{}}: no folder 'subject 1' to 'subject 44'; {UNPACK}")
_case(
    "enterface05", "unknown subject", _write("subject 45/anger/sentence 1/a.avi", "x"),
    "{}/subject 45: unknown subject 45; subjects are 1 to 44",
)  # fmt: skip
_case(
    "enterface05", "unknown emotion", _write("subject 1/joy/sentence 1/a.avi", "x"),
    f"{{}}/subject 1/joy: unknown emotion 'joy'; one of: {EMOTIONS}",
)  # fmt: skip
_case(
    "enterface05", "name", _write("subject 1/anger/sentence 6/a.avi", "x"),
    "{}/subject 1/anger/sentence 6: name is not 'sentence 1' to 'sentence 5'; rename it",
)  # fmt: skip
_case(
    "enterface05", "two clips", _write("subject 1/anger/sentence 1/b.avi", "x"),
    f"{{}}/subject 1/anger/sentence 1: folder holds 2 .avi files, not one; {UNPACK}",
)  # fmt: skip


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets whose frames are grey: their lists and names are what counts here."""
    root = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "mien.benchmarks.clip_making.make_clip",
            lambda *_, frames, size: motion.Clip(
                np.full((frames, size, size, 3), 128, np.uint8), *(np.ones((frames, 1)),) * 4
            ),
        )
        for name, benchmark in VIDEO.items():
            benchmark.make(root / name, HOW)
    return root


def test_every_set_has_five_faults_or_more() -> None:
    assert all(sum(case[0] == name for case in CASES) >= 5 for name in VIDEO)


@pytest.mark.parametrize(("name", "what", "broken", "message"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_fault(sets: Path, tmp_path: Path, name: str, what: str, broken: Break, message: str) -> None:
    root = tmp_path / "set"
    shutil.copytree(sets / name, root)
    VIDEO[name].open(root)
    broken(root)
    with pytest.raises(DataError) as caught:
        VIDEO[name].open(root)
    assert str(caught.value) == message.replace("{}", str(root))


@pytest.mark.parametrize("name", VIDEO)
def test_no_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        VIDEO[name].open(tmp_path / "none")
    title, layout = VIDEO[name].title, VIDEO[name].layout
    assert str(caught.value) == f"{tmp_path / 'none'}: no such folder for {title}; expected:\n{layout}"


def test_a_list_that_is_not_text_or_too_large(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "set"
    shutil.copytree(sets / "ferv39k", root)
    path = root / ALL
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError) as caught:
        VIDEO["ferv39k"].open(root)
    assert str(caught.value) == f"{path}: list is not UTF-8 text; {OWNER}"
    monkeypatch.setattr("mien.benchmarks.clip_lists.MOST_LIST_BYTES", 2)
    with pytest.raises(DataError, match="list has more than 2 bytes"):
        VIDEO["ferv39k"].open(root)
