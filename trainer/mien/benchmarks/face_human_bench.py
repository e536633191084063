"""Face-Human-Bench, its questions on expressions (Qin et al., arXiv 2501.01243).

Known from the owner's repository: `test/json/en/face_expression_basic.json` and `..._compound.json`, with
`QA` (question, options, answer) and the original and the cropped image; images lie below `eval_data`. In the
files the right option stands first, and the owner's code shuffles: whoever breaks ties by position would be
right too often. Decided here: the English test part, the cropped images, and the question as its own group.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mien.benchmarks.base import Benchmark, Item, Making, Question
from mien.benchmarks.files import inside, require, tree
from mien.benchmarks.making import draw, save, turns
from mien.benchmarks.rafdb import BASIC, COMPOUND
from mien.benchmarks.words import emotion
from mien.errors import DataError

_PARTS = {"basic": BASIC, "compound": COMPOUND}
_FILE = "test/json/en/face_expression_{}.json"
_LAYOUT = (
    f"  {_FILE.format('basic')}, {_FILE.format('compound')}\n"
    "  test/eval_data/face/expression/basic/cropped/sample_0001.jpg, ..."
)
_FIX = "take the set as its owner publishes it"


def _read(root: Path) -> list[Item]:
    items = []
    for part, classes in _PARTS.items():
        file = require(root, _FILE.format(part), _LAYOUT)
        content = tree(file)
        listed = content.get("data") if isinstance(content, dict) else None
        if not isinstance(listed, list):
            raise DataError("has no list `data`", where=file, fix=_FIX)
        for number, one in enumerate(listed):
            items.append(_item(root, file, f"{part}/{number}", one, classes))
    return items


def _item(root: Path, file: Path, key: str, one: Any, classes: tuple[str, ...]) -> Item:
    where = f"{file}: question {key}"
    try:
        asked, paths = one["QA"], one["image"]["image_paths"]
        options = tuple(emotion(str(option)) for option in asked["options"])
        answer, text, name = int(asked["answer"]), str(asked["question"]), str(paths["cropped"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"is incomplete: {error}", where=where, fix=_FIX) from error
    if not 0 <= answer < len(options):
        raise DataError(f"answer {answer} is none of {len(options)} options", where=where, fix=_FIX)
    picture = inside(root / "test", name, where)
    question = Question(text, options, answer, "class", None, classes)
    return Item(key, (picture,), group=key, question=question)


def _make(root: Path, how: Making) -> None:
    for part, classes in _PARTS.items():
        data = []
        for place, (name, person, number) in enumerate(turns(how, classes), 1):
            path = f"eval_data/face/expression/{part}/{{}}/sample_{place:04d}.jpg"
            picture = draw(how, person, name, number).image
            paths = {kind: path.format(kind) for kind in ("original", "cropped")}
            for one in paths.values():
                save(picture, root / "test" / one)
            others = [other for other in classes if other != name][:3]
            options = [option.capitalize() for option in (name, *others)]
            asked = {"question": "What is the expression in this image?", "options": options, "answer": 0}
            kind = f"face_expression_{part}"
            data.append({"type": kind, "QA": asked, "image": {"image_paths": paths}})
        file = root / _FILE.format(part)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"data": data}), encoding="utf-8")


FACE_HUMAN_BENCH = Benchmark(
    name="face-human-bench",
    title="Face-Human-Bench",
    task="mcq",
    classes=(),
    source="Qin et al., arXiv 2501.01243; the owner's repository",
    layout=_LAYOUT,
    read=_read,
    make=_make,
    marker=_FILE.format("basic"),
)
