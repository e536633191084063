"""What a person can move, by system: names, ranges and units of the sliders of the command and the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mien.faces.actions import ACTION_UNITS
from mien.systems.editing.pair_rules import FULL, UNITS
from mien.systems.rigface.codes import UNITS as RIG_UNITS

STRONGEST = 10.0
"""Largest change of an action unit that is taken, FACS levels; training never exceeds 5 (magicface spec, 5).
"""


@dataclass(frozen=True)
class Control:
    """One slider.

    Attributes:
        name: key of a request's moves, such as `AU12` or `yaw`.
        title: in words.
        group: what it moves.
        unit: of its numbers.
        least, most: ends of a slider, about what training showed.
        rest: where it changes nothing.
        step: of a slider.
        limits: beyond these a request is refused.
    """

    name: str
    title: str
    group: Literal["expression", "pose", "light"]
    unit: str
    least: float
    most: float
    rest: float
    step: float
    limits: tuple[float, float]


def _unit(number: int) -> Control:
    title = ACTION_UNITS[number].name
    limits = (-STRONGEST, STRONGEST)
    return Control(f"AU{number}", title, "expression", "FACS levels", -FULL, FULL, 0.0, 0.5, limits)


def _angle(name: str, title: str, most: float, limit: float) -> Control:
    group: Literal["pose", "light"] = "light" if name == "light" else "pose"
    return Control(name, title, group, "degrees", -most, most, 0.0, 1.0, (-limit, limit))


CONTROLS: dict[str, tuple[Control, ...]] = {
    "magicface": tuple(_unit(number) for number in UNITS),
    "rigface": (
        _angle("yaw", "turn of the head, > 0 to the right of the picture", 45, 90),
        _angle("pitch", "nod of the head, > 0 looks up", 25, 60),
        _angle("roll", "tilt of the head, > 0 clockwise", 25, 60),
        _angle("light", "turn of the light, > 0 to the right of the picture", 180, 360),
        Control("light_gain", "strength of the light", "light", "times", 0.25, 2.0, 1.0, 0.05, (0.0, 4.0)),
        *(_unit(number) for number in RIG_UNITS),
    ),
}
"""Of each system that edits, in the order in which they are shown. Changes are relative to the photo."""
