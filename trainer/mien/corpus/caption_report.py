"""What many captions look like together (spec, 8.3): variety, templates, sentences that come again.

Nothing is deleted: sentences that many images share are told, and a person decides.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.corpus.caption_gates import NEAR, near
from mien.errors import DataError
from mien.faces.captions_actions import ADJECTIVES, ADVERBS

ROWS, BANDS = 3, 20
"""Rows and bands of MinHash: of pairs that share 0.8 of their words, all but 1 in 10^6 are looked at."""

TOP = 10
"""Templates that the mass is counted over."""

_WORD = re.compile(r"[a-z]+(?:[-'][a-z]+)*")
_GRADES = frozenset(word for table in (ADVERBS, ADJECTIVES) for words in table.values() for word in words)
_OPENING = 4


@dataclass(frozen=True)
class Repeat:
    """A sentence that comes in several images.

    Attributes:
        text: as it comes first.
        images: positions of the records that hold it or a near duplicate, ascending.
    """

    text: str
    images: tuple[int, ...]


@dataclass(frozen=True)
class CaptionReport:
    """Numbers of a corpus of captions.

    Attributes:
        captions, sentences: how many.
        phrase_bits: entropy of word triples, bits.
        phrase_evenness: the same as a share of the entropy that as many different triples could have, [0, 1].
        template_mass: share of sentences that open like one of the `TOP` most frequent ways, [0, 1].
        templates: these openings with their shares, the most frequent first.
        repeats: sentences near-equal in two images or more, the most frequent first.
    """

    captions: int
    sentences: int
    phrase_bits: float
    phrase_evenness: float
    template_mass: float
    templates: tuple[tuple[str, float], ...]
    repeats: tuple[Repeat, ...]

    def flagged(self) -> dict[int, int]:
        """How many sentences of each image come again elsewhere, by position of its record."""
        return dict(Counter(image for repeat in self.repeats for image in repeat.images))


def report_captions(records: Iterable[Mapping[str, Any]]) -> CaptionReport:
    """Measure captions.

    Args:
        records: with `global`, `locals` and `summary`.

    Raises:
        DataError: for no sentence at all.
    """
    sentences: list[tuple[int, str]] = []
    captions = 0
    for image, record in enumerate(records):
        captions += 1
        texts = (record["global"], *(local["text"] for local in record["locals"]), record["summary"])
        sentences += [(image, text) for text in texts if text]
    if not sentences:
        raise DataError("no captions to measure", fix="give records with captions")
    words = [_WORD.findall(text.lower()) for _, text in sentences]
    phrases = Counter(triple for row in words for triple in zip(row, row[1:], row[2:], strict=False))
    bits = _entropy(phrases)
    most = math.log2(len(phrases)) if len(phrases) > 1 else 1.0
    openings = Counter(_opening(row) for row in words)
    templates = tuple((text, count / len(sentences)) for text, count in openings.most_common(TOP))
    mass = sum(share for _, share in templates)
    return CaptionReport(captions, len(sentences), bits, bits / most, mass, templates, _repeats(sentences))


def _opening(words: list[str]) -> str:
    """The first words, grades of intensity left open."""
    return " ".join("*" if word in _GRADES else word for word in words[:_OPENING])


def _entropy(counts: Counter[Any]) -> float:
    total = sum(counts.values())
    return -sum(n / total * math.log2(n / total) for n in counts.values()) if total else 0.0


def _repeats(sentences: list[tuple[int, str]]) -> tuple[Repeat, ...]:
    images: dict[str, set[int]] = defaultdict(set)
    for image, text in sentences:
        images[text].add(image)
    texts = list(images)
    leader = list(range(len(texts)))

    def root(place: int) -> int:
        while leader[place] != place:
            place = leader[place]
        return place

    for a, b in _candidates(texts):
        first, second = sorted((root(a), root(b)))
        # Against the leader too, or chains of small steps would join what is not alike.
        if first != second and near(texts[a], texts[b]) and near(texts[first], texts[second]):
            leader[second] = first
    groups: dict[int, set[int]] = defaultdict(set)
    for place, text in enumerate(texts):
        groups[root(place)] |= images[text]
    found = [Repeat(texts[p], tuple(sorted(group))) for p, group in groups.items() if len(group) > 1]
    return tuple(sorted(found, key=lambda repeat: -len(repeat.images)))


def _candidates(texts: list[str]) -> Iterator[tuple[int, int]]:
    """Pairs that may share `NEAR` of their words, by MinHash (Broder 1997) in bands."""
    assert NEAR >= 0.8
    salts = np.random.default_rng(0).integers(1, 2**63, ROWS * BANDS, dtype=np.uint64) | np.uint64(1)
    buckets: list[dict[bytes, int]] = [{} for _ in range(BANDS)]
    for place, text in enumerate(texts):
        words = sorted(set(_WORD.findall(text.lower()))) or [text]
        hashes = np.array([_hash(word) for word in words], dtype=np.uint64)
        mixed = hashes[:, None] * salts
        least = ((mixed ^ (mixed >> np.uint64(29))) * salts).min(0).reshape(BANDS, ROWS)
        others = {buckets[band].setdefault(least[band].tobytes(), place) for band in range(BANDS)}
        yield from ((other, place) for other in others if other != place)


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
