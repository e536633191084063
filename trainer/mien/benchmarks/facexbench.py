"""FaceXBench, its questions on expressions (Narayan, VS and Patel, arXiv 2501.10360).

Known from the owner's repository: `benchmark/<dataset>_<single|multiple>_mcq*.json` with a category, and
questions of `image_paths`, `question_text`, `options` and `correct_answer_option`; images lie beside. Those
of category `attributes_expression` come from AffectNet and from RAF-DB's train split. Four wordings ask for
logic over several images: which image(s) have, do not have, how many have. Decided here: the group of a
question is itself, for the set names nobody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mien.benchmarks.base import Benchmark, Item, Making, Question
from mien.benchmarks.files import inside, require, tree
from mien.benchmarks.making import draw, save
from mien.benchmarks.words import emotion
from mien.errors import DataError

_CATEGORY = "attributes_expression"
_CLASSES = {
    "affectnet": ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"),
    "rafdb": ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
}
_KINDS: tuple[tuple[str, Literal["which", "count"]], ...] = (
    (r"How many images have a person with the expression '(.+)'\?", "count"),
    (r"Which images? ha(?:ve|s) a person with the expression '(.+)'\?", "which"),
    (r"Which images? do(?:es)? not have a person with the expression '(.+)'\?", "which"),
)
_LAYOUT = (
    "  benchmark/affectnet_single_mcq.json, affectnet_multiple_mcq.json, rafdb_single_mcq_train.json,\n"
    "  rafdb_multiple_mcq_train.json; benchmark/images/affectnet_single_mcq/question_1.png, ..."
)


def _read(root: Path) -> list[Item]:
    folder = require(root, "benchmark", _LAYOUT)
    items = []
    for file in sorted(folder.glob("*_mcq*.json")):
        content = tree(file)
        if not isinstance(content, dict) or content.get("category") != _CATEGORY:
            continue
        dataset = str(content.get("dataset", ""))
        if dataset not in _CLASSES:
            what = f"questions on the unknown set {dataset!r}"
            raise DataError(what, where=file, fix=f"known: {', '.join(_CLASSES)}")
        questions = content.get("questions")
        if not isinstance(questions, dict):
            raise DataError("has no `questions`", where=file, fix="take the set as its owner publishes it")
        for number, one in questions.items():
            items.append(_item(folder, file, number, one, _CLASSES[dataset]))
    return items


def _item(folder: Path, file: Path, number: str, one: Any, classes: Sequence[str]) -> Item:
    where = f"{file}: question {number}"
    fix = "take the set as its owner publishes it"
    try:
        text, options, letter = str(one["question_text"]), one["options"], one["correct_answer_option"]
        names = [str(name) for name in one["image_paths"]]
        answer = "ABCDEFGH".index(letter)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"is incomplete: {error}", where=where, fix=fix) from error
    if not 0 <= answer < len(options):
        raise DataError(f"answer {letter!r} is none of {len(options)} options", where=where, fix=fix)
    media = tuple(inside(folder, name, where) for name in names)
    kind: Literal["class", "which", "count"] = "class"
    target = None
    for pattern, known in _KINDS:
        if match := re.fullmatch(pattern, text):
            kind, target = known, emotion(match[1])
    texts = tuple(emotion(str(option)) if kind == "class" else str(option) for option in options)
    key = f"{file.stem}/{number}"
    question = Question(text, texts, answer, kind, target, tuple(classes), " not have " in text)
    return Item(key, media, group=key, question=question)


def _make(root: Path, how: Making) -> None:
    """Every wording, `each` times, beside a file of another category."""
    words = {"happiness": "happy", "sadness": "sad"}
    for dataset, stem in (("affectnet", "affectnet_{}_mcq"), ("rafdb", "rafdb_{}_mcq_train")):
        rng = np.random.default_rng([how.seed, len(dataset)])
        classes = _CLASSES[dataset]
        for count, kinds in (("single", ("class",)), ("multiple", ("count", "has", "not"))):
            name, made = stem.format(count), {}
            for number in range(1, how.each * len(kinds) + 1):
                kind = kinds[number % len(kinds)]
                shown = [classes[int(n)] for n in rng.integers(0, len(classes), 1 if kind == "class" else 3)]
                paths = []
                for place, label in enumerate(shown, 1):
                    file = f"question_{number}" + ("" if kind == "class" else f"_{place}")
                    paths.append(f"images/{name}/{file}.png")
                    picture = draw(how, (number + place) % how.people, label, number)
                    save(picture.image, root / "benchmark" / paths[-1])
                asked = words.get(shown[0], shown[0])
                made[str(number)] = _question(kind, asked, [words.get(w, w) for w in shown], classes, rng)
                made[str(number)]["image_paths"] = paths
            head = {"category": _CATEGORY, "dataset": dataset, "num_images": count, "questions": made}
            (root / "benchmark" / f"{name}.json").write_text(json.dumps(head), encoding="utf-8")
    other = {"category": "age", "dataset": "utkface", "questions": {}}
    (root / "benchmark" / "utkface_single_mcq.json").write_text(json.dumps(other), encoding="utf-8")


def _question(
    kind: str, asked: str, shown: Sequence[str], classes: Sequence[str], rng: np.random.Generator
) -> dict[str, Any]:
    if kind == "class":
        text = "Which expression is the person showing in the image?"
        others = [name for name in ("fear", "disgust", "anger", "surprise", "neutral") if name != asked]
        options: list[str | int] = [asked, *others[:3]]
        right: str | int = asked
    elif kind == "count":
        text = f"How many images have a person with the expression '{asked}'?"
        right = sum(word == asked for word in shown)
        options = [0, 1, 2, 3]
    else:
        has = kind == "has"
        text = f"Which images {'have' if has else 'do not have'} a person with the expression '{asked}'?"
        places = [place for place, word in enumerate(shown, 1) if (word == asked) == has]
        right = ", ".join(f"Image {place}" for place in places) or "None of the images"
        right = "All of the images" if len(places) == len(shown) else right
        pool = ["Image 1", "Image 2", "Image 1, Image 3", "Image 2, Image 3", "None of the images"]
        options = [right, *[option for option in pool if option != right][:3]]
    order = [options[int(place)] for place in rng.permutation(4)]
    return {"question_text": text, "options": order, "correct_answer_option": "ABCD"[order.index(right)]}


FACEXBENCH = Benchmark(
    name="facexbench",
    title="FaceXBench",
    task="mcq",
    classes=(),
    source="Narayan, VS and Patel, arXiv 2501.10360; the owner's repository",
    layout=_LAYOUT,
    read=_read,
    make=_make,
    marker="benchmark/affectnet_single_mcq.json",
)
