"""Emotions as distributions over graded action units.

An emotion is not one template: it has several prototype families, each with core and optional units (tables
and sources in `mien.faces.prototypes`). A draw picks a family, decides which units appear, gives each a
Beta-distributed intensity around its strength, scales all by the overall intensity, adds incidental units,
drops what cannot go together (FACS manual, Ekman, Friesen & Hager 2002) and makes the sides differ a little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.faces.actions import ACTION_UNITS, Actions
from mien.faces.prototypes import (
    BASIC_FAMILIES,
    COMPOUND_FAMILIES,
    COMPOUNDS,
    EXCLUSIVE,
    INCIDENTAL,
    NEIGHBOURS,
    Family,
)

__all__ = [
    "BASIC", "COMPOUNDS", "EMOTIONS", "Expression", "characteristic", "parts", "sample_asymmetry",
    "sample_expression",
]  # fmt: skip

EMOTIONS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
"""The basic emotions, neutral and contempt."""

BASIC = EMOTIONS[:7]
"""The seven classes of most benchmarks."""

_FAMILIES = {**BASIC_FAMILIES, **COMPOUND_FAMILIES}
_CORE_PRESENT = 0.93
_PARTIAL, _PARTIAL_PRESENT = 0.2, 0.45
_BLEND = 0.3
_CONCENTRATION = 18.0
_TRACE = 0.05
_KEEP_CONFLICT = {(12, 15): 0.1}


@dataclass(frozen=True)
class Expression:
    """What a face expresses.

    Attributes:
        emotion: one of `EMOTIONS` or `COMPOUNDS`.
        intensity: overall intensity in [0, 1] (neutral: of movements without meaning, small).
        actions: the graded action units.
    """

    emotion: str
    intensity: float
    actions: Actions


def parts(emotion: str) -> tuple[str, ...]:
    """The basic emotions an emotion is made of: one, or two for a compound."""
    return COMPOUNDS.get(emotion, (emotion,))


def characteristic(emotion: str) -> frozenset[int]:
    """Every unit that some family of the emotion shows; empty for neutral.

    Raises:
        KeyError: unknown emotion.
    """
    if emotion == "neutral":
        return frozenset()
    return frozenset().union(*(family.units() for family in _FAMILIES[emotion]))


def sample_asymmetry(rng: np.random.Generator) -> float:
    """A person's habit: how much weaker the right (> 0) or left (< 0) side moves, in [-0.4, 0.4]."""
    return float(np.clip(rng.normal(0.0, 0.1), -0.4, 0.4))


def sample_expression(
    emotion: str,
    rng: np.random.Generator,
    intensity: float | None = None,
    *,
    asymmetry: float = 0.0,
    incidental: bool = True,
) -> Expression:
    """Draws one expression of an emotion.

    Args:
        emotion: one of `EMOTIONS` or `COMPOUNDS`.
        rng: source of every random choice.
        intensity: overall intensity in [0, 1]; drawn when None (low, moderate and high all occur).
        asymmetry: the person's habit, from `sample_asymmetry`.
        incidental: whether the face may depart from a prototype: units without emotional meaning, missing
            units, traces of a neighbouring emotion. One face in five lacks units, three in ten are blends.

    Raises:
        KeyError: unknown emotion.
    """
    if emotion == "neutral":
        strength = float(0.45 * rng.beta(1.5, 2.5)) if intensity is None else intensity
        units: dict[int, float] = {}
        lone: frozenset[int] = frozenset()
    else:
        strength = float(0.25 + 0.75 * rng.beta(1.9, 1.2)) if intensity is None else intensity
        family = _choose(_FAMILIES[emotion], rng)
        # Major variants of EMFACS are prototypes with units missing.
        present = _PARTIAL_PRESENT if incidental and rng.random() < _PARTIAL else _CORE_PRESENT
        units, lone = _draw(family, strength, rng, present), family.unilateral
        if incidental and emotion in NEIGHBOURS and rng.random() < _BLEND:
            _blend(units, emotion, strength, rng)
    if incidental:
        _add_incidental(units, rng, boost=4.0 if emotion == "neutral" else 1.0, cap=_cap(emotion, strength))
    return Expression(emotion, strength, _two_sided(_compatible(units, rng), asymmetry, lone, rng))


def _cap(emotion: str, strength: float) -> float:
    """Largest intensity of an incidental unit: as weak as the face itself when neutral, else at most half."""
    return max(strength, 0.12) if emotion == "neutral" else 0.15 + 0.3 * strength


def _choose(families: tuple[Family, ...], rng: np.random.Generator) -> Family:
    weights = np.array([family.weight for family in families])
    return families[int(rng.choice(len(families), p=weights / weights.sum()))]


def _around(strength: float, rng: np.random.Generator) -> float:
    """A Beta draw with the given mean."""
    mean = min(max(strength, 0.02), 0.97)
    return float(rng.beta(_CONCENTRATION * mean, _CONCENTRATION * (1 - mean)))


def _draw(family: Family, strength: float, rng: np.random.Generator, core: float) -> dict[int, float]:
    present = {unit: value for unit, value in family.core.items() if rng.random() < core}
    if not present:
        leader = max(family.core, key=family.core.__getitem__)
        present[leader] = family.core[leader]
    for unit, (probability, value) in family.optional.items():
        if rng.random() < probability:
            present[unit] = value
    for choice in family.one_of:
        unit = list(choice)[int(rng.integers(len(choice)))]
        present[unit] = choice[unit]
    return {unit: strength * _around(value, rng) for unit, value in present.items()}


def _blend(units: dict[int, float], emotion: str, strength: float, rng: np.random.Generator) -> None:
    """Adds about half the units of a neighbouring emotion, weaker than the main one."""
    others = NEIGHBOURS[emotion]
    family = _choose(_FAMILIES[others[int(rng.integers(len(others)))]], rng)
    weaker = _draw(family, strength * float(rng.uniform(0.4, 0.9)), rng, 0.5)
    for unit, value in weaker.items():
        units[unit] = max(units.get(unit, 0.0), value)


def _add_incidental(units: dict[int, float], rng: np.random.Generator, boost: float, cap: float) -> None:
    for unit, probability in INCIDENTAL.items():
        if rng.random() < boost * probability and unit not in units:
            # A blink is a blink, however calm or moved the face.
            units[unit] = float(rng.uniform(0.5, 1.0)) if unit == 45 else cap * float(rng.beta(2.5, 2.0))


def _compatible(units: dict[int, float], rng: np.random.Generator) -> dict[int, float]:
    kept = {unit: value for unit, value in units.items() if value >= _TRACE}
    for pair in EXCLUSIVE:
        if kept.keys() >= set(pair) and rng.random() >= _KEEP_CONFLICT.get(pair, 0.0):
            del kept[min(pair, key=kept.__getitem__)]
    # A dropped jaw parts the lips (FACS: 26 and 27 are scored with 25).
    jaw = max(kept.get(26, 0.0), kept.get(27, 0.0))
    if jaw >= 0.15:
        kept[25] = max(kept.get(25, 0.0), 0.7 * jaw)
    return kept


def _two_sided(
    units: dict[int, float], asymmetry: float, unilateral: frozenset[int], rng: np.random.Generator
) -> Actions:
    side = "left" if rng.random() < 0.5 else "right"
    left, right = {}, {}
    for unit in sorted(units):
        value, weaker = units[unit], 0.0
        if ACTION_UNITS[unit].lateral and unit not in (43, 45):
            weaker = float(np.clip(asymmetry + rng.normal(0.0, 0.08), -0.6, 0.6))
        left[unit], right[unit] = value * (1 + min(weaker, 0.0)), value * (1 - max(weaker, 0.0))
        if unit in unilateral:
            near, far = value, value * float(rng.uniform(0.0, 0.15))
            left[unit], right[unit] = (near, far) if side == "left" else (far, near)
    return Actions(left, right)
