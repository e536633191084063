"""Multiple-choice questions: rank options, or classify every image and let logic answer (section 6.3)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from mien.benchmarks.base import Benchmark, Item, Question
from mien.evaluation.metrics import Interval, bootstrap, hit_rate
from mien.evaluation.promptset import PromptSet, Words, load_prompts
from mien.evaluation.report import Row
from mien.evaluation.suite.embed import Embedder
from mien.evaluation.suite.results import Outcome, person
from mien.evaluation.suite.wording import centres, parts_of, prompts_for, template_means, texts, words_hash

Floats = npt.NDArray[np.float64]

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NAMES = {
    "happy": "happiness", "sad": "sadness", "surprised": "surprise", "fearful": "fear", "afraid": "fear",
    "disgusted": "disgust", "angry": "anger", "contemptuous": "contempt",
}  # fmt: skip
"""Adjectives as sets write classes, to the classes of the prompts."""


def images_named(option: str, count: int) -> frozenset[int] | None:
    """Images (from 0) that an option names, empty where it says none; None if it names nothing."""
    text = option.lower()
    if re.search(r"\b(none|no image|neither)\b", text):
        return frozenset()
    if re.search(r"\b(all|both)\b", text):
        return frozenset(range(count))
    found = {int(number) - 1 for number in re.findall(r"\d+", text)}
    found |= {place for place, word in enumerate(ORDINALS) if re.search(rf"\b{word}\b", text)}
    if not found:
        found = {NUMBERS.index(word) - 1 for word in re.findall(r"[a-z]+", text) if word in NUMBERS}
    return frozenset(found) if found and all(0 <= place < count for place in found) else None


def number_named(option: str, images: int) -> int | None:
    """The count that an option states in digits or in words; None if it states none."""
    text = option.lower()
    digits = re.findall(r"\d+", text)
    if digits:
        return int(digits[0])
    words = [NUMBERS.index(word) for word in re.findall(r"[a-z]+", text) if word in NUMBERS]
    if words:
        return words[0]
    if re.search(r"\b(none|no|neither)\b", text):
        return 0
    return images if re.search(r"\ball\b", text) else None


def option_scores(question: Question, probabilities: Floats) -> Floats | None:
    """A score of each option from the images' class probabilities; None where logic cannot read the options.

    The hard answer of logic (every image is its most probable class) leads; among options that it leaves
    equal, or if none agrees with it, the probabilities decide.

    Args:
        question: of kind `which`, `count` or `same`.
        probabilities: [images, classes], columns in the order of `question.classes`.
    """
    images = len(probabilities)
    if question.kind == "same":
        sets = [images_named(option, images) for option in question.options]
        return (
            None
            if any(not some for some in sets)
            else _same([some or frozenset() for some in sets], probabilities)
        )
    if question.target not in question.classes:
        return None
    target = question.classes.index(question.target)
    share, hit = probabilities[:, target].clip(1e-9, 1 - 1e-9), probabilities.argmax(1) == target
    if question.kind == "count":
        numbers = [number_named(option, images) for option in question.options]
        if any(number is None for number in numbers):
            return None
        stated = np.array(numbers, dtype=float)
        return -np.abs(stated - hit.sum()) - 1e-3 * np.abs(stated - share.sum())
    named = [images_named(option, images) for option in question.options]
    if any(some is None for some in named):
        return None
    if question.negated:
        share, hit = 1 - share, ~hit
    inside = np.array([[place in (some or ()) for place in range(images)] for some in named])
    likelihood = np.where(inside, np.log(share), np.log1p(-share)).sum(1)
    return np.where((inside == hit).all(1), 1e6, 0.0) + likelihood


def _same(sets: Sequence[frozenset[int]], probabilities: Floats) -> Floats:
    found = probabilities.argmax(1)
    agree = [len({int(found[place]) for place in some}) == 1 for some in sets]
    joint = [np.prod(probabilities[sorted(some)], axis=0).sum() for some in sets]
    return np.where(agree, 1e6, 0.0) + np.log(np.clip(joint, 1e-30, None))


def pick(scores: Floats, key: str) -> int:
    """The best option; of equal ones a draw fixed by the key, so that no position is favoured."""
    best = np.flatnonzero(scores >= scores.max() - 1e-9)
    return int(best[int(hashlib.sha256(key.encode()).hexdigest(), 16) % len(best)])


def answer_questions(
    embedder: Embedder, benchmark: Benchmark, items: Sequence[Item], seed: int = 0
) -> Outcome:
    """Accuracy by class prompts and logic, and chance; questions beyond logic rank their options."""
    words = _Words(embedder)
    picked, ways = [], []
    for item in items:
        scores, way = words.scores(item)
        picked.append(pick(scores, item.key))
        ways.append(way)
    questions = [_question(item) for item in items]
    groups = [person(item) for item in items]
    right = np.array([found == one.answer for found, one in zip(picked, questions)], dtype=float)
    kinds = sorted({one.kind for one in questions})
    metrics = {"accuracy": accuracy(right, groups, seed)}
    for kind in kinds if len(kinds) > 1 else []:
        chosen = [i for i, one in enumerate(questions) if one.kind == kind]
        metrics[f"accuracy {kind}"] = accuracy(right[chosen], [groups[i] for i in chosen], seed)
    ranked = ways.count("ranked")
    note = f"{len(items) - ranked} by classes and logic, {ranked} by ranking the options' own words"
    odds = np.array([1 / len(one.options) for one in questions])
    rows = [
        Row("zero-shot", metrics, note=note),
        Row("chance", {"accuracy": accuracy(odds, groups, seed)}, "baseline", "one option at random, exact"),
    ]
    predictions = [
        {
            "key": item.key, "group": person(item), "fold": "0", "truth": str(one.answer),
            "prediction": str(found), "kind": one.kind, "way": way,
        }
        for item, one, found, way in zip(items, questions, picked, ways)
    ]  # fmt: skip
    return Outcome(rows, predictions, {"prompts sha256": words.hash()})


def accuracy(right: Floats, groups: Sequence[str], seed: int) -> Interval:
    """Mean of `right` [N] with its interval over people."""
    return bootstrap(hit_rate, np.stack([right, np.ones(len(right))], axis=1), groups, seed=seed)


def _question(item: Item) -> Question:
    assert item.question is not None  # require_sound
    return item.question


class _Words:
    """Class prompts of questions, each set of classes encoded once."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.known = load_prompts("mafw")
        self.anchors: dict[tuple[str, ...], Floats] = {}
        self.hashes: set[str] = set()

    def scores(self, item: Item) -> tuple[Floats, str]:
        """A score of each option, and whether `logic` or words `ranked` gave it."""
        question = _question(item)
        images = self.embedder.vectors([(path,) for path in item.media])
        if question.kind in ("which", "count", "same") and question.classes:
            anchor = self._anchor(question.classes)
            found = option_scores(
                question, softmax(self.embedder.encoder.logit_scale * images @ anchor.T, axis=1)
            )
            if found is not None:
                return found, "logic"
        known = all(self._name(option) for option in question.options)
        ranked = images.mean(0) @ self._anchor(question.options).T
        return ranked, "logic" if known and question.kind == "class" else "ranked"

    def _name(self, option: str) -> str | None:
        """The class of the prompts that an option names, if it does."""
        text = NAMES.get(option.strip(" .").lower(), option.strip(" .").lower())
        return text if parts_of(text, list(self.known.classes)) else None

    def _anchor(self, options: tuple[str, ...]) -> Floats:
        if options not in self.anchors:
            names = [self._name(option) or option.strip(" .").lower() for option in options]
            prompts = self._prompts(names)
            make = centres if self.embedder.protocol == "clean" else template_means
            self.anchors[options] = make(self.embedder.encoder, texts(prompts, prompts.default, names))
            self.hashes.add(words_hash(prompts, names))
        return self.anchors[options]

    def _prompts(self, names: Sequence[str]) -> PromptSet:
        foreign = [name for name in names if not parts_of(name, list(self.known.classes))]
        if not foreign:
            return prompts_for(names)
        base = prompts_for([name for name in names if name not in foreign] or ["neutral"])
        words = {name.replace("_", " "): Words(nouns=[name], adjectives=[name]) for name in foreign}
        return base.model_copy(update={"classes": {**base.classes, **words}})

    def hash(self) -> str:
        """SHA-256 over the hashes of all strings that were encoded."""
        return hashlib.sha256("".join(sorted(self.hashes)).encode()).hexdigest()
