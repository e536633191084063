"""The words of a benchmark's classes: pinned prompts, and phrases composed of the parts of compounds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mien.errors import DataError
from mien.evaluation.encoding import centres, template_means, unit
from mien.evaluation.promptset import PromptSet, Words, covering, load_prompts
from mien.systems.encoder import Encoder

Floats = npt.NDArray[np.float64]

STEMS = {
    "happily": "happiness", "sadly": "sadness", "fearfully": "fear", "angrily": "anger",
    "disgustedly": "disgust", "surprised": "surprise", "fearful": "fear", "angry": "anger",
    "disgusted": "disgust", "happy": "happiness", "sad": "sadness",
}  # fmt: skip
"""Words of the compound classes of RAF-DB to the emotion that they name."""


def parts_of(label: str, known: Sequence[str]) -> tuple[str, ...]:
    """The basic classes that a label is made of, in its order; none where it is unclear.

    Reads `happily surprised`, `anger, fear`, `anger and fear`, `anger fear`, and `_`, `+`, `/`, `-` between.
    """
    text = label.replace("_", " ").lower()
    if text in known:
        words = text.split()
        if not all(word in STEMS for word in words) or len(words) < 2:
            return (text,)
    tokens = [word for word in re.split(r"[\s,+/&-]+", text) if word not in ("", "and")]
    parts = tuple(STEMS.get(word, word) for word in tokens)
    return parts if all(part in known for part in parts) else ()


def prompts_for(classes: Sequence[str]) -> PromptSet:
    """The smallest packaged set that has all classes, or the one that has their parts, with composed phrases.

    Raises:
        DataError: for a class that no packaged words can express.
    """
    found = covering(classes)
    if found is not None:
        return found
    base = load_prompts("mafw")
    extra: dict[str, Words] = {}
    for label in classes:
        parts = parts_of(label, list(base.classes))
        if not parts:
            base.require([label])
        if label not in base.classes:
            words = [base.classes[part] for part in parts]
            extra[label.replace("_", " ")] = Words(
                nouns=[_join([word.nouns[0] for word in words])],
                adjectives=[_join([word.adjectives[0] for word in words])],
            )
    return base.model_copy(update={"classes": {**base.classes, **extra}})


def _join(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def texts(prompts: PromptSet, family: str, classes: Sequence[str]) -> list[list[str]]:
    """Prompts of each class in a family."""
    return [prompts.prompts(family, label) for label in classes]


def words_hash(prompts: PromptSet, classes: Sequence[str]) -> str:
    """SHA-256 of every string that reaches the text tower, family by family and class by class."""
    content = {family: texts(prompts, family, classes) for family in prompts.families}
    return hashlib.sha256(json.dumps([prompts.default, content], sort_keys=True).encode()).hexdigest()


def part_centres(
    encoder: Encoder, prompts: PromptSet, family: str, classes: Sequence[str], clean: bool
) -> Floats:
    """Each compound class as the average of the vectors of its parts, [C, D] (EmoCLIP, arXiv 2310.16640).

    Raises:
        DataError: for a class whose parts are not known.
    """
    single = [name for name in prompts.classes if len(parts_of(name, list(prompts.classes))) == 1]
    split = [parts_of(label, single) for label in classes]
    for label, parts in zip(classes, split):
        if not parts:
            raise DataError(
                f"the parts of '{label}' are unknown", where=prompts.name, fix="add its parts there"
            )
    names = sorted({part for parts in split for part in parts})
    make = centres if clean else template_means
    vectors = dict(zip(names, make(encoder, texts(prompts, family, names))))
    means = np.stack([np.mean([vectors[part] for part in parts], axis=0) for parts in split])
    return np.asarray(unit(means) if clean else means, dtype=np.float64)
