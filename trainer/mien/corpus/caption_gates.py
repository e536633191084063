"""Caption gates (spec, section 2, step 4): why a caption should not go into a corpus.

Without measured units they judge the text alone. With units they also compare what is said with what is seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import combinations
from typing import Any, Protocol

import yaml

from mien.corpus.caption import CaptionError, check_caption
from mien.corpus.caption_claims import Claim, read_claims
from mien.corpus.caption_stage import Judge
from mien.corpus.units import NEVER, UNEVEN, Trust, UnitMeter
from mien.faces.actions import ACTION_UNITS
from mien.faces.captions import ABSENT
from mien.faces.captions_check import IDENTITY_WORDS

CODES = (
    "schema", "few_locals", "too_long", "refusal", "duplicate_local", "contradiction", "identity", "age",
    "attractiveness", "plot", "unit_unseen", "denied_unit_seen", "asymmetry_unseen",
)  # fmt: skip
"""Reason codes, in the order in which `judge` gives them."""

LEAST_LOCALS, MOST_TOKENS = 3, 75
"""Local sentences at least; BPE tokens of a sentence at most, CLIP's window without its two marks."""

NEAR = 0.8
"""Share of common words from which two sentences are nearly equal."""

SEEN = 0.3
"""Measured intensity (FACS B or more) at which a unit cannot be denied."""

Units = Mapping[int, tuple[float, float]]

_WORD = re.compile(r"[a-z]+(?:[-'][a-z]+)*")
_EYE_WHITES = re.compile(r"\bwhites? of the eyes?\b|\beye whites?\b")


class Tokenizer(Protocol):
    """What turns a text into token numbers, without marks of start and end."""

    def encode(self, text: str) -> list[int]:
        """Token numbers of a text."""
        ...


@dataclass(frozen=True)
class _Banned:
    words: frozenset[str]
    phrases: tuple[re.Pattern[str], ...]

    def found(self, text: str, words: set[str]) -> bool:
        return not self.words.isdisjoint(words) or any(phrase.search(text) for phrase in self.phrases)


VERSION = 2
"""Of what the gates find: another number makes every verdict anew."""


def make_judge(meter: UnitMeter | None = None) -> Judge:
    """These gates for a corpus, with a meter's limits if its units will come with the captions."""
    trust = meter.trust if meter is not None else None
    return Judge(f"gates {VERSION}", lambda record, units: judge(record, units, trust=trust))


def judge(
    record: Mapping[str, Any],
    units: Units | None = None,
    tokenizer: Tokenizer | None = None,
    trust: Mapping[int, Trust] | None = None,
) -> list[str]:
    """Reason codes of a caption; empty: it passes.

    Args:
        record: with `global`, `locals` and `summary`; other keys do not matter.
        units: measured intensity of (left, right) in [0, 1] by FACS number, sides as the person's own; a unit
            of `mien.faces.actions` that is not a key was not seen. None: nothing was measured.
        tokenizer: default CLIP's.
        trust: from where a measured unit refutes, by FACS number; of a unit that is no key nothing is
            refuted. None: the units are true, as of a rendered face.

    Returns:
        Codes of `CODES`, each once.
    """
    caption: dict[str, Any] = {name: record.get(name) for name in ("global", "locals", "summary")}
    locals_ = caption["locals"]
    if isinstance(locals_, list) and len(locals_) < LEAST_LOCALS:
        return ["few_locals"]
    try:
        check_caption(caption)
    except CaptionError:
        return ["schema"]
    texts = [caption["global"], *(local["text"] for local in caption["locals"]), caption["summary"]]
    claims = _claims(caption, texts)
    found = {
        *_lengths(texts, tokenizer or clip_tokenizer()),
        *_words(texts),
        *_repeats(caption["locals"]),
        *_contradictions(claims),
        *(_measured(claims, units, trust) if units is not None else ()),
    }
    return [code for code in CODES if code in found]


@cache
def clip_tokenizer() -> Tokenizer:
    """CLIP's byte pair encoding, as open_clip has it."""
    from open_clip.tokenizer import SimpleTokenizer

    made: Tokenizer = SimpleTokenizer()
    return made


def is_refusal(text: str) -> bool:
    """Whether a model declines in words."""
    lowered = text.lower().replace("’", "'")
    return _banned()["refusal"].found(lowered, set())


def near(a: str, b: str) -> bool:
    """Whether two sentences share `NEAR` of their words."""
    first, second = set(_WORD.findall(a.lower())), set(_WORD.findall(b.lower()))
    return len(first & second) >= NEAR * max(1, len(first | second))


def _lengths(texts: list[str], tokenizer: Tokenizer) -> Iterator[str]:
    # No token is shorter than a byte, so short texts need no tokenizer.
    if any(len(text.encode()) > MOST_TOKENS and len(tokenizer.encode(text)) > MOST_TOKENS for text in texts):
        yield "too_long"


def _words(texts: list[str]) -> Iterator[str]:
    text = _EYE_WHITES.sub("", "\n".join(texts).lower().replace("’", "'"))
    words = {part for word in _WORD.findall(text) for part in (word, *word.split("-"), word.split("'")[0])}
    for code, banned in _banned().items():
        if banned.found(text, words):
            yield code


@cache
def _banned() -> dict[str, _Banned]:
    source = resources.files("mien.corpus").joinpath("caption_words.yaml").read_text(encoding="utf-8")
    table = yaml.safe_load(source)
    taken = {word for row in table.values() for word in row["words"]}
    table["identity"]["words"] += sorted(IDENTITY_WORDS - taken)
    return {
        code: _Banned(frozenset(row["words"]), tuple(re.compile(phrase) for phrase in row["phrases"]))
        for code, row in table.items()
    }


def _repeats(locals_: list[dict[str, Any]]) -> Iterator[str]:
    for a, b in combinations(locals_, 2):
        # Few words tell "the inner ends of the brows" from "the outer ends"; their claims do.
        same = a["region"] == b["region"] and near(a["text"], b["text"])
        if same and _units(a["text"]) == _units(b["text"]):
            yield "duplicate_local"
            return


def _units(text: str) -> set[frozenset[int]]:
    return {claim.units for claim in read_claims(text)}


def _claims(caption: dict[str, Any], texts: list[str]) -> list[Claim]:
    listed = [Claim(frozenset((unit,))) for local in caption["locals"] for unit in local["au"]]
    return [claim for text in texts for claim in read_claims(text)] + listed


def _contradictions(claims: list[Claim]) -> Iterator[str]:
    if any(a.contradicts(b) for a, b in combinations(set(claims), 2)):
        yield "contradiction"


_TRUE = Trust(ABSENT, SEEN, UNEVEN)


def _measured(claims: list[Claim], units: Units, trust: Mapping[int, Trust] | None) -> Iterator[str]:
    for claim in claims:
        rows = [
            (units.get(unit, (0.0, 0.0)), _TRUE if trust is None else trust.get(unit, NEVER))
            for unit in claim.units
            if unit in ACTION_UNITS
        ]
        if not rows:
            continue
        if claim.denied:
            if claim.side is None and any(max(sides) >= limit.high for sides, limit in rows):
                yield "denied_unit_seen"
        # A sentence that any of several units makes true is refuted only if each of them is.
        elif all(max(sides) < limit.low for sides, limit in rows):
            yield "unit_unseen"
        elif claim.side and all(_lead(sides, claim.side) < limit.lead for sides, limit in rows):
            yield "asymmetry_unseen"


def _lead(sides: tuple[float, float], side: str) -> float:
    left, right = sides
    return left - right if side == "left" else right - left
