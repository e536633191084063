"""Words for facial actions, from `captions_actions.yaml`: what is seen, what it is called, how it is denied.

No word names a person's identity. `mien.faces.captions_check` reads captions back by the longest phrase.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml


@dataclass(frozen=True)
class Action:
    """Phrases for one or several action units that are seen together.

    Attributes:
        units: FACS numbers the phrases assert.
        region: caption region.
        seen: clauses of the visible observation, each with one `{much}`.
        names: names of the action, used after an article and an adjective of intensity.
        evidence: noun phrases for the summary.
        quality: what the action adds whatever the emotion, such as "tension"; may be empty.
    """

    units: tuple[int, ...]
    region: str
    seen: tuple[str, ...]
    names: tuple[str, ...]
    evidence: tuple[str, ...]
    quality: tuple[str, ...] = ()


@dataclass(frozen=True)
class Denial:
    """Clauses that say that some units are absent, all of them true only if none is seen."""

    units: tuple[int, ...]
    region: str
    clauses: tuple[str, ...]


def _load() -> dict[str, list[dict[str, Any]]]:
    """The packaged lexicon, lists made tuples."""
    text = resources.files("mien.faces").joinpath("captions_actions.yaml").read_text(encoding="utf-8")
    return {
        kind: [{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows]
        for kind, rows in yaml.safe_load(text).items()
    }


_LEXICON = _load()

ACTIONS: tuple[Action, ...] = tuple(Action(**row) for row in _LEXICON["actions"])
"""Entries with several units are used when all of them are seen at the same grade."""

DENIALS: tuple[Denial, ...] = tuple(Denial(**row) for row in _LEXICON["denials"])
"""Clauses of absence."""

ADVERBS: dict[str, tuple[str, ...]] = {
    "low": ("slightly", "faintly", "a little"),
    "moderate": ("clearly", "moderately", "noticeably"),
    "high": ("strongly", "sharply", "markedly"),
}
"""Adverbs by grade; no adverb belongs to two grades."""

ADJECTIVES: dict[str, tuple[str, ...]] = {
    "low": ("slight", "faint", "weak"),
    "moderate": ("moderate", "clear", "noticeable"),
    "high": ("strong", "marked", "pronounced"),
}
"""Adjectives by grade, for actions and for emotions."""

SIDES: dict[str, tuple[str, ...]] = {
    "more": ("more so on the {side}", "with the {side} side leading"),
    "only": ("on the {side} side only", "only on the {side}"),
}
"""How a difference of the two sides is said; `{side}` is the person's own left or right."""
