"""FABA-Bench, emotions and action units (Li et al., ECCV 2024).

Known from the owner's repository: `eval/eval_emotion_anno.json` and `eval/eval_au_anno.json`, lists with
`image` (a path that begins with the set's folder), `label` and a description; emotion labels are a word or a
number of the order below, unit labels numbers with commas. The train part has descriptions alone. Decided
here: only the eval part is read; the description is kept as text; the image is its own group.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mien.benchmarks.base import Benchmark, Item, Making
from mien.benchmarks.files import inside, require, tree
from mien.benchmarks.making import draw, draw_units, save, turns
from mien.benchmarks.words import emotion
from mien.errors import DataError

CLASSES = ("happiness", "sadness", "surprise", "anger", "neutral", "disgust", "fear")
UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 20, 23, 24, 25, 26, 27, 43)
_FILE = "eval/eval_{}_anno.json"
_FIX = "take the set as its owner publishes it"


def _layout(part: str) -> str:
    return f"  {_FILE.format(part)}\n  eval/images/...   named in the list as FABAInstruct/eval/images/..."


def _read(root: Path, part: str, judge: Callable[[Any, str], dict[str, Any]]) -> list[Item]:
    file = require(root, _FILE.format(part), _layout(part))
    listed = tree(file)
    if not isinstance(listed, list):
        raise DataError("is no list", where=file, fix=_FIX)
    items = []
    for number, one in enumerate(listed):
        where = f"{file}: entry {number}"
        try:
            name, label = str(one["image"]), one["label"]
            text = one.get("gpt4")
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"is incomplete: {error}", where=where, fix=_FIX) from error
        path = inside(root, name.removeprefix("FABAInstruct/"), where)
        items.append(Item(name, (path,), group=name, text=text, **judge(label, where)))
    return items


def _emotion(label: Any, where: str) -> dict[str, Any]:
    word = (
        CLASSES[int(label)] if str(label).isdecimal() and int(label) < len(CLASSES) else emotion(str(label))
    )
    if word not in CLASSES:
        raise DataError(f"unknown label {label!r}", where=where, fix=f"known: {', '.join(CLASSES)}")
    return {"label": word}


def _units(label: Any, where: str) -> dict[str, Any]:
    try:
        present = {int(number) for number in str(label).split(",") if number.strip()}
    except ValueError as error:
        raise DataError(f"label {label!r} is no list of units", where=where, fix=_FIX) from error
    return {"units": {unit: float(unit in present) for unit in UNITS}}


def _make_emotion(root: Path, how: Making) -> None:
    listed = []
    for place, (name, person, number) in enumerate(turns(how, CLASSES)):
        drawn = draw(how, person, name, number)
        image = f"eval/images/{place}.jpg"
        save(drawn.image, root / image)
        label = str(CLASSES.index(name)) if place % 2 else name.capitalize()
        entry = {"image": f"FABAInstruct/{image}", "label": label, "gpt4": drawn.caption.summary}
        listed.append(entry)
    (root / _FILE.format("emotion")).write_text(json.dumps(listed), encoding="utf-8")


def _make_units(root: Path, how: Making) -> None:
    """Faces that show two units each, so that every unit is present `each` times at least."""
    listed = []
    for place, (unit, person, number) in enumerate(turns(how, [str(u) for u in UNITS])):
        pair = {int(unit): 0.9, UNITS[(UNITS.index(int(unit)) + 5 + number) % len(UNITS)]: 0.8}
        image = f"eval/images/{place}.jpg"
        save(draw_units(how, person, pair, number).image, root / image)
        label = ", ".join(str(one) for one in sorted(pair))
        listed.append({"image": f"FABAInstruct/{image}", "label": label, "gpt4": f"AU {label}"})
    (root / _FILE.format("au")).write_text(json.dumps(listed), encoding="utf-8")


FABA_EMOTION = Benchmark(
    name="faba-emotion",
    title="FABA-Bench emotion",
    task="static",
    classes=CLASSES,
    source="Li et al., ECCV 2024; the owner's repository",
    layout=_layout("emotion"),
    read=lambda root: _read(root, "emotion", _emotion),
    make=_make_emotion,
    marker=_FILE.format("emotion"),
)
FABA_AU = Benchmark(
    name="faba-au",
    title="FABA-Bench AU",
    task="au",
    classes=(),
    units=UNITS,
    source="Li et al., ECCV 2024; the owner's repository",
    layout=_layout("au"),
    read=lambda root: _read(root, "au", _units),
    make=_make_units,
    marker=_FILE.format("au"),
)
