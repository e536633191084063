"""What a caption sentence in free English says of facial actions: which, on which side, present or absent.

Two readers: the lexicon of the face world, which knows its own phrases exactly, and regular expressions for
other wordings (`caption_actions.yaml`), read clause by clause. Neither understands English; what they miss
they do not judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from mien.faces.captions_check import claims as lexicon_claims

_CLAUSE = re.compile(r"[.;:,!?]| while | whereas | but | although | though | yet | so | with ")
_NEGATION = re.compile(
    r"\b(?:no|not|never|neither|nor|without|none|absent|absence|lack\w*|free of|nothing|hardly)\b"
)
_SIDE = re.compile(r"\b(left|right)\b")
_BOTH = re.compile(r"\bboth\b|\bleft and right\b|\bright and left\b|\beither side\b")
_SEEN_SIDE = re.compile(
    r"\b(?:more so |stronger |higher |only )?on (?:the|its|their) (?:left|right)(?: side)?(?: only)?\b"
    r"|\b(?:left|right) side (?:only|leading)\b"
)


@dataclass(frozen=True)
class Claim:
    """One thing that a sentence says.

    Attributes:
        units: FACS units; asserted: at least one of them is present, denied: none of them is.
        side: "left" or "right" where the sentence names one of them for it, else None.
        denied: whether it is said to be absent.
    """

    units: frozenset[int]
    side: str | None = None
    denied: bool = False

    def contradicts(self, other: Claim) -> bool:
        """Whether one asserts what the other denies."""
        if self.denied == other.denied:
            return False
        asserted, denied = (other, self) if self.denied else (self, other)
        return asserted.units <= denied.units and denied.side in (None, asserted.side)


def read_claims(text: str) -> list[Claim]:
    """Every claim of a sentence that the readers find."""
    lowered = re.sub(r"n't\b", " not", text.lower().replace("’", "'"))
    found = dict.fromkeys((*_by_lexicon(lowered), *_by_words(lowered)))
    return list(found)


def _by_lexicon(text: str) -> Iterator[Claim]:
    known = lexicon_claims(text)
    side = _side(text)
    for unit in known.asserted:
        yield Claim(frozenset((unit,)), side)
    for unit in sorted(known.denied):
        yield Claim(frozenset((unit,)), None, True)


def _by_words(text: str) -> Iterator[Claim]:
    whole = _side(text) if _SEEN_SIDE.search(text) else None
    for clause in _CLAUSE.split(text):
        side = _side(clause) or whole
        denied = _NEGATION.search(clause) is not None
        for units, patterns in _patterns():
            if any(pattern.search(clause) for pattern in patterns):
                yield Claim(units, side, denied)


def _side(text: str) -> str | None:
    sides = set(_SIDE.findall(text))
    return sides.pop() if len(sides) == 1 and not _BOTH.search(text) else None


@cache
def _patterns() -> list[tuple[frozenset[int], list[re.Pattern[str]]]]:
    source = resources.files("mien.corpus").joinpath("caption_actions.yaml").read_text(encoding="utf-8")
    table = yaml.safe_load(source)
    made = []
    for row in table["actions"]:
        texts = row["find"]
        for word, regex in table["words"].items():
            texts = [text.replace(f"{{{word}}}", regex) for text in texts]
        made.append((frozenset(row["units"]), [re.compile(text) for text in texts]))
    return made
