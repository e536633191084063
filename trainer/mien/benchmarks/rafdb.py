"""RAF-DB, basic and compound (Li, Deng and Du, CVPR 2017).

Known from the owner's download and the loaders built on it: the list `EmoLabel/list_patition_label.txt` (so
spelt) with a name and a number a line, the aligned crops, the order of both label lists, and the split by the
name's beginning. Decided here: the set names nobody, so that every image is a group of its own.
"""

from __future__ import annotations

from pathlib import Path

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.files import chosen, fields, inside, numbered, require
from mien.benchmarks.making import draw, save, turns
from mien.errors import DataError

BASIC = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
COMPOUND = (
    "happily surprised", "happily disgusted", "sadly fearful", "sadly angry", "sadly surprised",
    "sadly disgusted", "fearfully angry", "fearfully surprised", "angrily surprised", "angrily disgusted",
    "disgustedly surprised",
)  # fmt: skip
_LIST, _IMAGES = "EmoLabel/list_patition_label.txt", "Image/aligned"


def _layout(part: str, classes: tuple[str, ...]) -> str:
    numbers = ", ".join(f"{number} {name}" for number, name in enumerate(classes, 1))
    return (
        f"  {part}/{_LIST}   lines `train_00001.jpg 5`; {numbers}\n"
        f"  {part}/{_IMAGES}/train_00001_aligned.jpg, test_0001_aligned.jpg, ..."
    )


def _read(root: Path, part: str, classes: tuple[str, ...]) -> list[Item]:
    layout = _layout(part, classes)
    names = numbered(classes, 1)
    listed = require(root, f"{part}/{_LIST}", layout)
    folder = require(root, f"{part}/{_IMAGES}", layout)
    items = []
    for line, (name, label) in fields(listed, 2):
        where = f"{listed}:{line}"
        split = name.partition("_")[0]
        if split not in ("train", "test"):
            fix = "names begin with train_ or test_"
            raise DataError(f"{name!r} tells no split", where=where, fix=fix)
        path = inside(folder, f"{Path(name).with_suffix('')}_aligned.jpg", where)
        items.append(Item(name, (path,), chosen(label, names, where), name, split))
    return items


def _make(root: Path, how: Making, part: str, classes: tuple[str, ...]) -> None:
    lines = []
    counts = {"train": 0, "test": 0}
    for name, person, number in turns(how, classes):
        split = "test" if number % 2 else "train"
        counts[split] += 1
        stem = f"{split}_{counts[split]:0{5 if split == 'train' else 4}d}"
        lines.append(f"{stem}.jpg {classes.index(name) + 1}\n")
        save(draw(how, person, name, number).image, root / part / _IMAGES / f"{stem}_aligned.jpg")
    (root / part / "EmoLabel").mkdir(parents=True, exist_ok=True)
    (root / part / _LIST).write_text("".join(sorted(lines)), encoding="utf-8")


def _benchmark(name: str, title: str, part: str, classes: tuple[str, ...]) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        task="static" if part == "basic" else "compound",
        classes=classes,
        source="Li, Deng and Du, CVPR 2017; the owner's README",
        layout=_layout(part, classes),
        read=lambda root: _read(root, part, classes),
        make=lambda root, how: _make(root, how, part, classes),
        marker=f"{part}/{_LIST}",
    )


RAF_DB = _benchmark("raf-db", "RAF-DB", "basic", BASIC)
RAF_DB_COMPOUND = _benchmark("raf-db-compound", "RAF-DB compound", "compound", COMPOUND)
