"""Every picture benchmark: what is drawn is read back, and five ways to break a folder are told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.benchmarks.base import Making
from mien.benchmarks.static import STATIC
from mien.benchmarks.table import BENCHMARKS, find, get
from mien.errors import DataError

HOW = Making(people=3, each=2, size=32)
SPLITS = {"ck+": {"test"}, "jaffe": {"test"}, "faba-emotion": {"test"}, "ferplus": {"train", "val"}}
SETS = {
    "FABA": "eval/eval_emotion_anno.json", "AU": "eval/eval_au_anno.json",
    "SINGLE": "benchmark/affectnet_single_mcq.json", "BASIC": "test/json/en/face_expression_basic.json",
    "CODE": "AUCoding/AU_OCC/F001_T1.csv", "AU1": "ActionUnit_Labels/SN001/SN001_au1.txt",
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each layout; the two AffectNets share one."""
    root = tmp_path_factory.mktemp("benchmarks")
    for name, benchmark in STATIC.items():
        folder = root / name.replace("affectnet-8", "affectnet-7")
        if not folder.exists():
            benchmark.make(folder, HOW)
    return root


def folder_of(root: Path, name: str) -> Path:
    return root / name.replace("affectnet-8", "affectnet-7")


CLASSED = [name for name, one in STATIC.items() if one.classes]


@pytest.mark.parametrize("name", CLASSED)
def test_what_is_drawn_is_read(root: Path, name: str) -> None:
    benchmark = STATIC[name]
    items = benchmark.open(folder_of(root, name))
    assert {item.label for item in items} == set(benchmark.classes)
    counts = [sum(item.label == label for item in items) for label in benchmark.classes]
    splits = {item.split for item in items}
    if name == "ferplus":  # ties went to another class, and nameless faces are out
        assert sum(counts) == 16
        assert counts[-1] == HOW.each
    else:
        assert counts == [HOW.each] * len(benchmark.classes)
    assert splits == SPLITS.get(name, {"train", "test"})
    if name in ("ck+", "jaffe", "sfew2"):
        assert len({item.group for item in items}) == HOW.people
    if name == "ck+":
        assert all(item.units for item in items)
        assert all(item.media[0].name.endswith("_00000002.png") for item in items)  # the peak, not the start


def test_units_that_are_drawn_are_read(root: Path) -> None:
    faba = STATIC["faba-au"].open(root / "faba-au")
    assert len(faba) == HOW.each * 20
    assert all(sum(item.units.values()) == 2 and len(item.units) == 20 for item in faba)
    shown = {unit for item in faba for unit, value in item.units.items() if value}
    assert shown == set(STATIC["faba-au"].units)
    disfa = STATIC["disfa"].open(root / "disfa")
    assert [item.key for item in disfa] == [f"SN00{n}/{frame}" for n in (1, 2, 3) for frame in (1, 61)]
    assert [item.fold for item in disfa] == [1, 1, 2, 2, 3, 3]
    present = [{unit for unit, value in item.units.items() if value} for item in disfa]
    assert present == [{1}, {9}, {2}, {12}, {4}, set()]  # AU15 is not scored; 0.15 is below the bound
    bp4d = STATIC["bp4d"].open(root / "bp4d")
    assert len(bp4d) == 3 * 2 * HOW.each
    assert {item.group for item in bp4d} == {"F001", "M002", "F003"}
    assert [24 in item.units for item in bp4d[:2]] == [True, False]  # not coded: neither present nor absent
    assert all(sum(item.units.values()) == 1 for item in bp4d if 24 in item.units)


def test_questions_have_their_logic(root: Path) -> None:
    items = STATIC["facexbench"].open(root / "facexbench")
    assert len(items) == 2 * (HOW.each + 3 * HOW.each)
    kinds = {item.question.kind for item in items}
    assert kinds == {"class", "which", "count"}
    assert {item.question.negated for item in items if item.question.kind == "which"} == {True, False}
    assert all(len(item.media) == (1 if item.question.kind == "class" else 3) for item in items)
    assert all(item.question.target in item.question.classes for item in items if item.question.target)
    single = [item.question for item in items if item.question.kind == "class"]
    assert all(question.options[question.answer] in question.classes for question in single)
    other = STATIC["face-human-bench"].open(root / "face-human-bench")
    assert len(other) == HOW.each * (7 + 11)
    assert {item.question.answer for item in other} == {0}
    assert other[0].question.options[0] == "surprise"
    assert other[-1].question.options[0] == "disgustedly surprised"


def test_both_affectnets_read_one_folder(root: Path) -> None:
    seven, eight = (STATIC[f"affectnet-{n}"].open(root / "affectnet-7") for n in (7, 8))
    assert [item.key for item in seven] == [item.key for item in eight if item.label != "contempt"]
    assert len(eight) - len(seven) == HOW.each


def test_folders_are_recognised(root: Path) -> None:
    found = find(root)
    assert {name: path.name for name, path in found.items() if name in STATIC} == {
        name: folder_of(root, name).name for name in STATIC
    }
    with pytest.raises(DataError, match="no benchmark called 'raf'; did you mean 'raf-db'"):
        get("raf")
    assert list(BENCHMARKS)[: len(STATIC)] == list(STATIC)


def edit(path: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda root: (root / path).write_text(change((root / path).read_text()))


def more(path: str, line: str) -> Callable[[Path], None]:
    return edit(path, lambda text: f"{text}{line}\n")


def swap(path: str, old: str, new: str) -> Callable[[Path], None]:
    """The first of it, and it must be there."""

    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return edit(path, change)


def remove(path: str) -> Callable[[Path], None]:
    def gone(root: Path) -> None:
        target = next(root.glob(path))
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return gone


def pickled(path: str) -> Callable[[Path], None]:
    return lambda root: np.save(next(root.glob(path)), np.array([{"a": 1}], dtype=object), allow_pickle=True)


def put(path: str, text: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)

    return write


RAF, FER = "EmoLabel/list_patition_label.txt", "fer2013new.csv"
NOTE, PEAK = "val_set/annotations/1_exp.npy", "Emotion/S005/001/S005_001_00000002_emotion.txt"


def saved(value: np.ndarray) -> Callable[[Path], None]:
    return lambda root: np.save(root / NOTE, value)


def copied(root: Path) -> None:
    first = next(root.glob("*.tiff"))
    shutil.copy(first, first.with_suffix(".tif"))


BROKEN: dict[str, list[tuple[Callable[[Path], None], str]]] = {
    "raf-db": [
        (remove(f"basic/{RAF}"), rf"raf-db: lacks basic/{RAF}; expected:"),
        (more(f"basic/{RAF}", "test_9 1 2"), rf"{RAF}:15: has 3 columns, not 2"),
        (more(f"basic/{RAF}", "test_9.jpg 8"), rf"{RAF}:15: unknown label '8'|absent"),
        (more(f"basic/{RAF}", "test_0099.jpg 1"), r":15: names 'test_0099_al.*, which is absent"),
        (more(f"basic/{RAF}", "test_/../../x.jpg 1"), r":15: .* leads out of the set"),
        (more(f"basic/{RAF}", "foo_1.jpg 1"), r":15: 'foo_1.jpg' tells no split; names begin"),
    ],
    "raf-db-compound": [
        (remove("compound/Image"), r"lacks compound/Image/aligned"),
        (edit(f"compound/{RAF}", lambda t: ""), r"RAF-DB compound has no items"),
        (edit(f"compound/{RAF}", lambda t: t.replace(" 11", " 12")), r"unknown label '12'; known: 1, 2"),
        (edit(f"compound/{RAF}", lambda t: t + t.splitlines()[0]), r"item '.*' occurs twice"),
        (remove("compound/Image/aligned/*.jpg"), r"which is absent; looked for"),
    ],
    "affectnet-7": [
        (remove("train_set"), r"lacks train_set/images"),
        (pickled("val_set/annotations/*.npy"), r"_exp.npy: is not a plain array"),
        (put(NOTE, "text"), r"1_exp.npy: is not a plain array"),
        (remove("val_set/images/*.jpg"), r"_exp.npy: names '\d+.jpg', which is absent"),
        (saved(np.array("8")), r"unknown label '8'; known: 0, 1"),
    ],
    "affectnet-8": [
        (remove("val_set/annotations"), r"lacks val_set/annotations"),
        (saved(np.arange(2)), r"holds 2 values, not 1"),
        (saved(np.array("x")), r"unknown label 'x'"),
        (put(NOTE, "x" * 5000), r"is larger than 4096 bytes"),
        (put("val_set/annotations/99_exp.npy", ""), r"99_exp.npy: is not a plain array"),
    ],
    "ferplus": [
        (remove(FER), rf"lacks {FER}"),
        (edit(FER, lambda t: t.replace("NF", "NoFace", 1)), rf"{FER}: lacks the column 'NF'; it has"),
        (more(FER, "PrivateTest,a.png,1"), rf"{FER}:20: has 3 cells, the head 12"),
        (edit(FER, lambda t: t.replace(",8,", ",x,", 1)), r"'x' is not a whole number"),
        (edit(FER, lambda t: t.replace("Training,fer", "Train,fer", 1)), rf"{FER}:2: unknown usage 'Train'"),
    ],
    "ck+": [
        (remove("Emotion"), r"lacks Emotion; expected"),
        (remove("cohn-kanade-images/S005/001"), r"emotion.txt: its sequence has no frames"),
        (put(PEAK, " 8.0e+00\n"), r"unknown label 8; labels are 1 to 7"),
        (put(PEAK, "anger\n"), r"emotion.txt:1: 'anger' is no number"),
        (put(PEAK, ""), r"emotion.txt: is empty"),
        (put("FACS/S005/001/S005_001_00000002_facs.txt", "1.0\n"), r"facs.txt:1: has 1 numbers, not 2"),
    ],
    "jaffe": [
        (lambda root: [file.unlink() for file in root.iterdir()], r"JAFFE has no pictures; expected"),
        (put("KAAN139.tiff", ""), r"KAAN139.tiff: name does not parse; names are like"),
        (put("KA.XX1.99.tiff", ""), r"unknown emotion 'XX'; known: NE, HA"),
        (put("ka.AN1.99.tiff", ""), r"ka.AN1.99.tiff: name does not parse"),
        (copied, r"occurs twice"),
    ],
    "sfew2": [
        (remove("Val"), r"lacks Val; expected"),
        (remove("Train/Happy"), r"Train: lacks the folder Happy"),
        (put("Val/Joy/a_1.png", ""), r"Val/Joy: 'Joy' is no class; known: Angry"),
        (remove("Train"), r"lacks Train"),
        (lambda root: shutil.rmtree(root), r"no such folder for SFEW 2.0"),
    ],
    "faba-emotion": [
        (remove("eval"), r"lacks eval/eval_emotion_anno.json"),
        (put(SETS["FABA"], "{"), r"eval_emotion_anno.json: is no JSON"),
        (put(SETS["FABA"], "{}"), r"eval_emotion_anno.json: is no list"),
        (put(SETS["FABA"], '[{"image": "a.jpg"}]'), r"entry 0: is incomplete: 'label'"),
        (swap(SETS["FABA"], "Happiness", "Bliss"), r"entry 0: unknown label 'Bliss'"),
        (swap(SETS["FABA"], "/0.jpg", "/../../0.jpg"), r"leads out of the set"),
    ],
    "faba-au": [
        (remove(SETS["AU"]), r"lacks eval/eval_au_anno.json"),
        (put(SETS["AU"], "[]"), r"FABA-Bench AU has no items"),
        (put(SETS["AU"], "[3]"), r"entry 0: is incomplete"),
        (swap(SETS["AU"], '"1, 7"', '"AU1"'), r"label 'AU1' is no list of units"),
        (remove("eval/images/0.jpg"), r"entry 0: names 'eval/images/0.jpg', which is absent"),
    ],
    "disfa": [
        (remove("Images"), r"lacks Images; expected"),
        (remove("ActionUnit_Labels/SN002/SN002_au9.txt"), r"SN002: lacks SN002_au9.txt"),
        (more(SETS["AU1"], "121,6"), r"SN001_au1.txt:121: intensity 6; intensities are 0 to 5"),
        (more(SETS["AU1"], "121,1"), r"AU2 has 120 frames, AU1 121"),
        (more(SETS["AU1"], "121"), r"SN001_au1.txt:121: has 1 columns, not 2"),
        (remove("Images/SN003/00061.jpg"), r"SN003: lacks the frame 00061.jpg"),
    ],
    "bp4d": [
        (remove("AUCoding"), r"lacks AUCoding/AU_OCC"),
        (put("AUCoding/AU_OCC/notes.csv", "0\n"), r"notes.csv: name does not parse; names are like"),
        (swap(SETS["CODE"], ",24", ",25"), r"F001_T1.csv: lacks the column '24'"),
        (more(SETS["CODE"], "99" + ",2" * 12), r"F001_T1.csv:\d+: code 2; codes are 0, 1 and 9"),
        (remove("Sequences(2D+3D)/F001/T1/0001.jpg"), r"F001_T1.csv: names the frame 1, which is absent"),
    ],
    "face-human-bench": [
        (remove("test/json/en/face_expression_compound.json"), r"lacks test/json/en/face_expression_comp"),
        (put(SETS["BASIC"], "[]"), r"face_expression_basic.json: has no list `data`"),
        (put(SETS["BASIC"], '{"data": [{"QA": {}}]}'), r"question basic/0: is incomplete"),
        (swap(SETS["BASIC"], '"answer": 0', '"answer": 4'), r"answer 4 is none of 4"),
        (remove("test/eval_data/face/expression/basic/cropped/sample_0001.jpg"), r"which is absent"),
    ],
    "facexbench": [
        (remove("benchmark"), r"lacks benchmark; expected"),
        (put(SETS["SINGLE"], "{"), r"affectnet_single_mcq.json: is no JSON"),
        (swap(SETS["SINGLE"], '"affectnet"', '"foo"'), r"unknown set 'foo'"),
        (swap(SETS["SINGLE"], "question_1.png", "../question_1.png"), r"leads out of the set"),
        (swap(SETS["SINGLE"], '"options"', '"choices"'), r"incomplete: 'options'"),
        (remove("benchmark/images/rafdb_single_mcq_train/question_1.png"), r"question 1: names .* absent"),
    ],
}  # fmt: skip
CASES = [(name, place) for name, cases in BROKEN.items() for place in range(len(cases))]


@pytest.mark.parametrize(("name", "place"), CASES)
def test_a_broken_folder_is_told(root: Path, tmp_path: Path, name: str, place: int) -> None:
    hurt, words = BROKEN[name][place]
    shutil.copytree(folder_of(root, name), tmp_path / name)
    hurt(tmp_path / name)
    with pytest.raises(DataError, match=words):
        STATIC[name].open(tmp_path / name)


def test_every_benchmark_has_five_ways_to_break() -> None:
    assert set(BROKEN) == set(STATIC)
    assert min(len(cases) for cases in BROKEN.values()) >= 5
    assert json.dumps([one.layout for one in STATIC.values()])
