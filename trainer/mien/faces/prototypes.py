"""Which action units each emotion is made of: tables of prototype families, as data.

Sources: Ekman, Friesen & Hager, FACS Investigator's Guide (2002), table of emotion prototypes and major
variants (EMFACS); Du, Tao & Martinez, "Compound facial expressions of emotion", PNAS 111(15), 2014, table 1,
for the compound ones. RAF-DB uses the same eleven compound classes.
Weights, probabilities and strengths are ours, guided by these. A strength is relative to the overall
intensity of the expression: 1 = as strong as the expression itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Family:
    """One way of showing an emotion.

    Attributes:
        weight: share of this family among those of its emotion.
        core: action unit -> strength in (0, 1]; each is present with a high probability.
        optional: action unit -> (probability, strength).
        one_of: sets of alternatives (unit -> strength); exactly one unit of each set is taken.
        unilateral: units shown on one side of the face only (contempt).
    """

    weight: float
    core: Mapping[int, float]
    optional: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    one_of: tuple[Mapping[int, float], ...] = ()
    unilateral: frozenset[int] = frozenset()

    def units(self) -> set[int]:
        """Every unit the family can show."""
        return {*self.core, *self.optional, *(unit for choice in self.one_of for unit in choice)}


BASIC_FAMILIES: dict[str, tuple[Family, ...]] = {
    "happiness": (
        Family(0.40, {6: 0.75, 12: 0.9, 25: 0.75}, {26: (0.3, 0.45), 7: (0.25, 0.45)}),
        Family(0.35, {6: 0.75, 12: 0.9}, {7: (0.25, 0.45), 14: (0.15, 0.3)}),
        Family(0.15, {12: 0.9, 25: 0.7}, {6: (0.3, 0.4), 26: (0.3, 0.45)}),
        Family(0.10, {6: 0.9, 12: 0.95, 25: 0.85, 26: 0.7}, {7: (0.5, 0.6), 10: (0.15, 0.35)}),
    ),
    "sadness": (
        Family(0.40, {1: 0.85, 4: 0.7, 15: 0.8},
                {17: (0.5, 0.6), 11: (0.35, 0.55), 7: (0.15, 0.35), 43: (0.2, 0.4)}),
        Family(0.25, {1: 0.85, 4: 0.75, 11: 0.65, 15: 0.7}, {17: (0.3, 0.5), 25: (0.2, 0.4), 6: (0.2, 0.4)}),
        Family(0.20, {1: 0.6, 15: 0.85, 17: 0.7},
                {11: (0.4, 0.55), 4: (0.4, 0.4), 43: (0.35, 0.45), 6: (0.2, 0.4)}),
        Family(0.15, {1: 0.9, 4: 0.65, 15: 0.65, 25: 0.5}, {43: (0.4, 0.5), 17: (0.2, 0.4), 26: (0.15, 0.3)}),
    ),
    "surprise": (
        Family(0.45, {1: 0.8, 2: 0.85, 5: 0.65, 25: 0.75, 26: 0.8}),
        Family(0.25, {1: 0.9, 2: 0.9, 5: 0.75, 25: 0.85, 27: 0.85}),
        Family(0.20, {1: 0.85, 2: 0.9, 5: 0.6}, {25: (0.4, 0.45)}),
        Family(0.10, {1: 0.75, 2: 0.85, 25: 0.7, 26: 0.75}, {5: (0.3, 0.4)}),
    ),
    "fear": (
        Family(0.40, {1: 0.85, 2: 0.5, 4: 0.65, 5: 0.85, 20: 0.8, 25: 0.6},
                {26: (0.4, 0.45), 7: (0.35, 0.5)}),
        Family(0.25, {1: 0.85, 4: 0.7, 5: 0.85, 20: 0.8}, {2: (0.4, 0.45), 7: (0.4, 0.5), 25: (0.5, 0.5)}),
        Family(0.20, {1: 0.85, 2: 0.55, 4: 0.7, 5: 0.9, 25: 0.65},
                {26: (0.5, 0.5), 7: (0.3, 0.5), 20: (0.4, 0.5)}),
        Family(0.15, {1: 0.8, 4: 0.5, 5: 0.9, 20: 0.85, 25: 0.7, 27: 0.6}, {2: (0.5, 0.5), 16: (0.3, 0.4)}),
    ),
    "disgust": (
        Family(0.35, {9: 0.9, 10: 0.6}, {4: (0.35, 0.45), 7: (0.4, 0.5), 17: (0.35, 0.5), 6: (0.2, 0.4)}),
        Family(0.25, {9: 0.7, 10: 0.85, 17: 0.65}, {4: (0.3, 0.45), 15: (0.35, 0.5), 24: (0.15, 0.4)}),
        Family(0.25, {10: 0.9, 16: 0.6, 25: 0.7}, {9: (0.55, 0.6), 26: (0.3, 0.45), 6: (0.25, 0.4)}),
        Family(0.15, {9: 0.85, 15: 0.6, 16: 0.5, 25: 0.55}, {26: (0.3, 0.4), 4: (0.4, 0.45), 7: (0.3, 0.5)}),
    ),
    "anger": (
        Family(0.35, {4: 0.9, 7: 0.75}, {5: (0.45, 0.55), 17: (0.35, 0.5)}, ({23: 0.7, 24: 0.8},)),
        Family(0.25, {4: 0.9, 5: 0.65, 7: 0.7, 23: 0.7}, {17: (0.4, 0.5), 10: (0.2, 0.4)}),
        Family(0.25, {4: 0.9, 7: 0.7, 25: 0.65},
                {5: (0.6, 0.6), 10: (0.4, 0.5), 26: (0.4, 0.5)}, ({22: 0.7, 23: 0.65},)),
        Family(0.15, {4: 0.85, 24: 0.85}, {7: (0.5, 0.6), 17: (0.6, 0.6), 5: (0.3, 0.5)}),
    ),
    "contempt": (
        Family(0.55, {14: 0.9},
                {12: (0.4, 0.35), 17: (0.15, 0.4), 7: (0.15, 0.35)}, unilateral=frozenset({12, 14})),
        Family(0.30, {12: 0.55, 14: 0.85},
                {2: (0.25, 0.5), 43: (0.25, 0.3)}, unilateral=frozenset({2, 12, 14})),
        Family(0.15, {14: 0.7, 10: 0.5}, {24: (0.25, 0.4), 17: (0.2, 0.4)}, unilateral=frozenset({10, 14})),
    ),
}  # fmt: skip
"""Families of the six basic emotions and contempt. Neutral has none: see `INCIDENTAL`."""

COMPOUNDS: dict[str, tuple[str, str]] = {
    "happily surprised": ("happiness", "surprise"),
    "happily disgusted": ("happiness", "disgust"),
    "sadly fearful": ("sadness", "fear"),
    "sadly angry": ("sadness", "anger"),
    "sadly surprised": ("sadness", "surprise"),
    "sadly disgusted": ("sadness", "disgust"),
    "fearfully angry": ("fear", "anger"),
    "fearfully surprised": ("fear", "surprise"),
    "angrily surprised": ("anger", "surprise"),
    "angrily disgusted": ("anger", "disgust"),
    "disgustedly surprised": ("disgust", "surprise"),
}
"""The eleven compound classes of RAF-DB and the two basic emotions each is made of."""

COMPOUND_FAMILIES: dict[str, tuple[Family, ...]] = {
    "happily surprised": (
        Family(0.6, {1: 0.75, 2: 0.8, 12: 0.8, 25: 0.75}, {5: (0.64, 0.6), 26: (0.67, 0.6), 6: (0.3, 0.5)}),
        Family(0.4, {1: 0.8, 2: 0.8, 5: 0.6, 12: 0.75, 25: 0.8, 27: 0.7}, {6: (0.3, 0.5)}),
    ),
    "happily disgusted": (
        Family(0.6, {10: 0.75, 12: 0.75, 25: 0.65}, {4: (0.32, 0.45), 6: (0.61, 0.6), 9: (0.59, 0.6)}),
        Family(0.4, {6: 0.65, 9: 0.75, 12: 0.75}, {4: (0.3, 0.4), 25: (0.5, 0.6), 10: (0.4, 0.5)}),
    ),
    "sadly fearful": (
        Family(0.6, {1: 0.85, 4: 0.75, 20: 0.65, 25: 0.55},
                {2: (0.2, 0.4), 5: (0.4, 0.5), 15: (0.35, 0.5), 6: (0.2, 0.3)}),
        Family(0.4, {1: 0.85, 4: 0.75, 5: 0.65, 15: 0.7}, {20: (0.4, 0.5), 26: (0.33, 0.4), 11: (0.3, 0.4)}),
    ),
    "sadly angry": (
        Family(0.6, {4: 0.9, 15: 0.75}, {7: (0.48, 0.55), 17: (0.5, 0.6), 11: (0.2, 0.4), 6: (0.26, 0.4)}),
        Family(0.4, {4: 0.85, 15: 0.7, 24: 0.6}, {7: (0.4, 0.5), 1: (0.3, 0.4), 17: (0.5, 0.6)}),
    ),
    "sadly surprised": (
        Family(0.6, {1: 0.85, 4: 0.65, 25: 0.7, 26: 0.7}, {2: (0.27, 0.5), 15: (0.3, 0.45)}),
        Family(0.4, {1: 0.85, 4: 0.6, 15: 0.55, 26: 0.65}, {2: (0.4, 0.5), 5: (0.3, 0.4), 25: (0.7, 0.6)}),
    ),
    "sadly disgusted": (
        Family(0.6, {4: 0.7, 10: 0.75, 15: 0.55},
                {1: (0.49, 0.6), 9: (0.2, 0.5), 17: (0.54, 0.6), 25: (0.2, 0.4)}),
        Family(0.4, {1: 0.7, 4: 0.65, 9: 0.7, 15: 0.6}, {11: (0.35, 0.5), 17: (0.5, 0.5), 6: (0.25, 0.4)}),
    ),
    "fearfully angry": (
        Family(0.6, {4: 0.9, 20: 0.7, 25: 0.6},
                {5: (0.4, 0.7), 7: (0.39, 0.6), 10: (0.3, 0.5), 11: (0.2, 0.4)}),
        Family(0.4, {4: 0.85, 5: 0.8, 20: 0.65}, {7: (0.5, 0.6), 25: (0.7, 0.6), 26: (0.3, 0.5)}),
    ),
    "fearfully surprised": (
        Family(0.6, {1: 0.85, 2: 0.75, 5: 0.85, 20: 0.65, 25: 0.65}, {4: (0.47, 0.4), 26: (0.51, 0.55)}),
        Family(0.4, {1: 0.85, 2: 0.75, 4: 0.45, 5: 0.85, 25: 0.75, 26: 0.65}, {20: (0.4, 0.5)}),
    ),
    "angrily surprised": (
        Family(0.6, {4: 0.85, 25: 0.75, 26: 0.7}, {5: (0.35, 0.7), 7: (0.5, 0.55), 10: (0.34, 0.5)}),
        Family(0.4, {4: 0.8, 5: 0.75, 25: 0.75, 27: 0.6}, {2: (0.3, 0.5), 7: (0.3, 0.5)}),
    ),
    "angrily disgusted": (
        Family(0.6, {4: 0.85, 10: 0.75, 17: 0.6}, {7: (0.6, 0.6), 9: (0.57, 0.6), 24: (0.36, 0.6)}),
        Family(0.4, {4: 0.8, 7: 0.65, 9: 0.8}, {10: (0.5, 0.6), 23: (0.3, 0.5), 17: (0.5, 0.5)}),
    ),
    "disgustedly surprised": (
        Family(0.6, {1: 0.75, 2: 0.75, 5: 0.65, 10: 0.75}, {4: (0.45, 0.4), 9: (0.37, 0.5), 17: (0.66, 0.6)}),
        Family(0.4, {1: 0.7, 2: 0.75, 5: 0.7, 9: 0.65, 10: 0.6}, {25: (0.5, 0.5), 26: (0.3, 0.5)}),
    ),
}  # fmt: skip
"""Families of the compound emotions, after table 1 of Du et al."""

NEIGHBOURS: dict[str, tuple[str, ...]] = {
    "happiness": ("surprise", "disgust"),
    "sadness": ("fear", "anger", "disgust"),
    "surprise": ("fear", "fear", "happiness"),
    "fear": ("surprise", "surprise", "sadness"),
    "disgust": ("anger", "anger", "sadness"),
    "anger": ("disgust", "disgust", "sadness"),
    "contempt": ("disgust", "happiness"),
}
"""Emotions a face is most often confused or blended with (repeated = more often)."""

INCIDENTAL: dict[int, float] = {
    1: 0.04, 2: 0.04, 4: 0.05, 5: 0.02, 6: 0.03, 7: 0.04, 10: 0.02, 11: 0.02, 12: 0.04, 14: 0.05, 15: 0.03,
    17: 0.05, 18: 0.02, 23: 0.02, 24: 0.04, 25: 0.07, 26: 0.03, 28: 0.01, 43: 0.03, 45: 0.03,
}  # fmt: skip
"""Unit -> probability of appearing for no emotional reason (speech, blink, habit)."""

EXCLUSIVE: tuple[tuple[int, int], ...] = (
    (28, 25), (28, 26), (28, 27), (28, 22), (28, 18), (24, 25), (24, 26), (24, 27), (24, 22), (24, 28),
    (26, 27), (18, 20), (18, 12), (18, 27), (22, 20), (22, 12), (43, 5), (45, 5), (43, 45), (12, 15),
    (12, 20), (12, 24), (17, 27), (17, 20), (17, 16),
)  # fmt: skip
"""Pairs that do not go together (antagonists, or one hides the other): the weaker of a pair is dropped."""
