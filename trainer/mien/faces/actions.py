"""FACS action units as the face world knows them: numbers, names, regions, graded two-sided intensity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

REGIONS = (
    "eyes", "brows", "forehead", "nose", "cheeks", "nasolabial", "mouth", "jaw_chin", "head_gaze", "other",
)  # fmt: skip
"""Region names of a local caption sentence (emocapclip spec, section 2)."""


@dataclass(frozen=True)
class ActionUnit:
    """One action unit: FACS number, FACS name, caption region, and whether its two sides can differ."""

    number: int
    name: str
    region: str
    lateral: bool = True


ACTION_UNITS: dict[int, ActionUnit] = {
    unit.number: unit
    for unit in (
        ActionUnit(1, "inner brow raiser", "brows"),
        ActionUnit(2, "outer brow raiser", "brows"),
        ActionUnit(4, "brow lowerer", "brows"),
        ActionUnit(5, "upper lid raiser", "eyes"),
        ActionUnit(6, "cheek raiser", "cheeks"),
        ActionUnit(7, "lid tightener", "eyes"),
        ActionUnit(9, "nose wrinkler", "nose"),
        ActionUnit(10, "upper lip raiser", "nasolabial"),
        ActionUnit(11, "nasolabial deepener", "nasolabial"),
        ActionUnit(12, "lip corner puller", "mouth"),
        ActionUnit(14, "dimpler", "cheeks"),
        ActionUnit(15, "lip corner depressor", "mouth"),
        ActionUnit(16, "lower lip depressor", "mouth"),
        ActionUnit(17, "chin raiser", "jaw_chin"),
        ActionUnit(18, "lip pucker", "mouth", lateral=False),
        ActionUnit(20, "lip stretcher", "mouth"),
        ActionUnit(22, "lip funneler", "mouth", lateral=False),
        ActionUnit(23, "lip tightener", "mouth", lateral=False),
        ActionUnit(24, "lip pressor", "mouth", lateral=False),
        ActionUnit(25, "lips part", "mouth", lateral=False),
        ActionUnit(26, "jaw drop", "jaw_chin", lateral=False),
        ActionUnit(27, "mouth stretch", "jaw_chin", lateral=False),
        ActionUnit(28, "lip suck", "mouth", lateral=False),
        ActionUnit(43, "eye closure", "eyes"),
        ActionUnit(45, "blink", "eyes"),
    )
}
"""Every action unit the rigs can show, by FACS number."""


def grade(intensity: float) -> str:
    """FACS letter of an intensity in [0, 1]: '' below 0.1, then A, B, C, D, E in steps of 0.2."""
    if intensity < 0.1:
        return ""
    return "ABCDE"[min(int(intensity * 5), 4)]


@dataclass(frozen=True)
class Actions:
    """What a face does: per action unit an intensity in [0, 1] on the person's left and right.

    Units that are absent are 0. Sides of units that are not lateral are equal.
    """

    left: Mapping[int, float] = field(default_factory=dict)
    right: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, intensities: Mapping[int, float], asymmetry: float = 0.0) -> Actions:
        """Both sides from one intensity each; `asymmetry` in [-1, 1] weakens the right (> 0) or left side.

        Raises:
            KeyError: for an action unit that is not in `ACTION_UNITS`.
        """
        left, right = {}, {}
        for number, value in intensities.items():
            lateral = ACTION_UNITS[number].lateral
            left[number] = value * (1 + min(asymmetry, 0.0) if lateral else 1)
            right[number] = value * (1 - max(asymmetry, 0.0) if lateral else 1)
        return cls(left, right)

    def intensity(self, number: int) -> float:
        """The larger of the two sides, in [0, 1]."""
        return max(self.left.get(number, 0.0), self.right.get(number, 0.0))

    def active(self, threshold: float = 0.1) -> list[int]:
        """Numbers of the units whose intensity reaches `threshold`, ascending."""
        return [n for n in sorted({*self.left, *self.right}) if self.intensity(n) >= threshold]


def units_record(actions: Actions) -> dict[str, list[float]]:
    """Intensities as records hold them: [left, right] by FACS number as text, of units of 0.01 or more."""
    return {
        str(n): [round(side.get(n, 0.0), 3) for side in (actions.left, actions.right)]
        for n in actions.active(0.01)
    }
