"""Reads captions back: which actions a sentence asserts or denies, sides, identity words, variety."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from mien.faces.captions import Caption
from mien.faces.captions_actions import ACTIONS, ADJECTIVES, ADVERBS, DENIALS

IDENTITY_WORDS = frozenset(
    [
        "he",
        "she",
        "him",
        "her",
        "his",
        "hers",
        "himself",
        "herself",
        "man",
        "men",
        "woman",
        "women",
        "boy",
        "girl",
        "male",
        "female",
        "lady",
        "guy",
        "gentleman",
        "child",
        "kid",
        "baby",
        "adult",
        "teen",
        "teenager",
        "young",
        "old",
        "older",
        "younger",
        "elderly",
        "aged",
        "age",
        "ages",
        "years",
        "race",
        "racial",
        "ethnic",
        "ethnicity",
        "asian",
        "african",
        "european",
        "black",
        "white",
        "brown",
        "caucasian",
        "hispanic",
        "latino",
        "indian",
        "beautiful",
        "handsome",
        "attractive",
        "ugly",
        "cute",
        "gorgeous",
        "lovely",
        "name",
        "named",
        "beard",
        "bearded",
        "moustache",
        "makeup",
        "hair",
        "haired",
        "bald",
        "skin-tone",
    ]
)
"""Words that tell who someone is; no caption holds one."""

_SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)
_WORD = re.compile(r"[a-z][a-z-]*")


@dataclass(frozen=True)
class Claims:
    """What a text says of the actions.

    Attributes:
        asserted: unit -> grade, None where the text gives no grade.
        denied: units said to be absent.
    """

    asserted: dict[int, str | None]
    denied: frozenset[int]


@dataclass(frozen=True)
class _Pattern:
    regex: str
    units: tuple[int, ...]
    denies: bool


def mentions_side(text: str) -> bool:
    """Whether a text names the left or the right: its picture must not be mirrored."""
    return _SIDE.search(text) is not None


def identity_words(text: str) -> set[str]:
    """Words of the text that tell who the person is; empty for every caption made here."""
    return set(_WORD.findall(text.lower())) & IDENTITY_WORDS


def claims(text: str) -> Claims:
    """Every action that a caption sentence asserts or denies, by the longest phrase at each place."""
    matcher, patterns = _matcher()
    asserted: dict[int, str | None] = {}
    denied: set[int] = set()
    for match in matcher.finditer(text.lower()):
        pattern = patterns[int(str(match.lastgroup)[1:])]
        if pattern.denies:
            denied.update(pattern.units)
            continue
        grade = _grade(match.group())
        for unit in pattern.units:
            asserted[unit] = grade or asserted.get(unit)
    return Claims(asserted, frozenset(denied))


@cache
def _matcher() -> tuple[re.Pattern[str], list[_Pattern]]:
    adverbs, adjectives = _alternatives(ADVERBS), _alternatives(ADJECTIVES)
    found: list[tuple[int, _Pattern]] = []
    for entry in ACTIONS:
        for phrase in entry.seen:
            regex = re.escape(phrase).replace(re.escape("{much}"), adverbs)
            found.append((len(phrase), _Pattern(regex, entry.units, False)))
        for phrase in entry.names:
            found.append((len(phrase), _Pattern(f"{adjectives} {re.escape(phrase)}", entry.units, False)))
        for phrase in entry.evidence:
            found.append((len(phrase), _Pattern(re.escape(phrase), entry.units, False)))
    for denial in DENIALS:
        for phrase in denial.clauses:
            found.append((len(phrase), _Pattern(re.escape(phrase), denial.units, True)))
    patterns = [pattern for _, pattern in sorted(found, key=lambda item: -item[0])]
    joined = "|".join(f"(?P<p{number}>{p.regex})" for number, p in enumerate(patterns))
    return re.compile(rf"\b(?:{joined})\b"), patterns


def _alternatives(words: dict[str, tuple[str, ...]]) -> str:
    return "(?:" + "|".join(re.escape(word) for grade in words.values() for word in grade) + ")"


def _grade(phrase: str) -> str | None:
    for words in (ADVERBS, ADJECTIVES):
        for grade, choices in words.items():
            if any(re.search(rf"\b{re.escape(word)}\b", phrase) for word in choices):
                return grade
    return None


def caption_stats(captions: Iterable[Caption]) -> dict[str, float]:
    """Variety of a set of captions (spec 8.3: templates must not take over).

    Returns:
        Keys `captions`, `sentences`, `words_per_caption`, `vocabulary` (distinct words), `trigram_bits`
        (entropy of word triples) and, for each level in global, local, summary: `<level>_distinct` (distinct
        sentences / all), `<level>_top` (share of the most frequent sentence).

    Raises:
        ValueError: for no captions.
    """
    every = list(captions)
    if not every:
        raise ValueError("no captions to measure")
    levels = {
        "global": [c.global_ for c in every],
        "local": [local.text for c in every for local in c.locals],
        "summary": [c.summary for c in every],
    }
    words = [_WORD.findall(text.lower()) for texts in levels.values() for text in texts]
    triples = Counter(triple for text in words for triple in zip(text, text[1:], text[2:], strict=False))
    stats = {
        "captions": float(len(every)),
        "sentences": float(len(words)),
        "words_per_caption": sum(map(len, words)) / len(every),
        "vocabulary": float(len({word for text in words for word in text})),
        "trigram_bits": _entropy(list(triples.values())),
    }
    for name, texts in levels.items():
        counts = Counter(texts)
        stats[f"{name}_distinct"] = len(counts) / len(texts)
        stats[f"{name}_top"] = max(counts.values()) / len(texts)
    return stats


def _entropy(counts: Sequence[int]) -> float:
    total = sum(counts)
    return -sum(n / total * math.log2(n / total) for n in counts)
