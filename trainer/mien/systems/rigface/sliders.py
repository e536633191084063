"""Edits without a target picture: degrees, a turned light, action units by name (rigface spec, 5)."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

import numpy as np

from mien.errors import MienError
from mien.faces.actions import ACTION_UNITS
from mien.faces.camera import rotation
from mien.systems.rigface.codes import UNITS, Codes
from mien.systems.rigface.harmonics import rotate_light
from mien.systems.rigface.modes import Edit

_UNIT = re.compile(r"AU(\d+)([LR]?)=([+-]?)(\d*\.?\d+)")
_FIX = "write AU12=+0.5 to add, AU12=0.5 to set, AU12L=0.5 for the person's left side only"


@dataclass(frozen=True)
class Sliders:
    """Offsets from the source; the defaults change nothing.

    Attributes:
        yaw, pitch, roll: added to the pose, degrees, signs as in `mien.faces.camera.rotation`.
        light_turn: turn of the light about the vertical, degrees; > 0 moves it to the right of the picture.
        light_gain: factor of the light's strength, 0 or more.
        units: action units such as ("AU12=+0.5", "AU4L=0"): a sign adds, none sets; of space "world" only.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    light_turn: float = 0.0
    light_gain: float = 1.0
    units: tuple[str, ...] = ()

    def edit(self) -> Edit | None:
        """The edit this amounts to, for the choice of psi and mask; None where nothing moves."""
        moved = {
            "exp": bool(self.units),
            "pose": (self.yaw, self.pitch, self.roll) != (0, 0, 0),
            "light": self.light_turn != 0 or self.light_gain != 1,
        }
        names = tuple(name for name, moves in moved.items() if moves)
        return Edit(names) if names else None

    def apply(self, codes: Codes) -> Codes:
        """The codes after the sliders have moved; only what they name changes.

        Raises:
            MienError: a number is not finite, the gain is negative, a unit is unknown or badly written, or
                the codes have no action units.
        """
        numbers = (self.yaw, self.pitch, self.roll, self.light_turn, self.light_gain)
        if not np.isfinite(numbers).all() or self.light_gain < 0:
            fix = "give finite numbers, the gain 0 or more"
            raise MienError(f"sliders at {numbers}", where="sliders", fix=fix)
        out = codes
        yaw, pitch, roll = codes.pose
        if (self.yaw, self.pitch, self.roll) != (0, 0, 0):
            out = replace(out, pose=(yaw + self.yaw, pitch + self.pitch, roll + self.roll))
        if self.light_turn:
            out = replace(out, light=rotate_light(codes.light, rotation((self.light_turn, 0, 0))))
        if self.light_gain != 1:
            out = replace(out, light=out.light * np.float32(self.light_gain))
        return replace(out, expression=_acted(codes, self.units)) if self.units else out


def _acted(codes: Codes, units: tuple[str, ...]) -> np.ndarray:
    if codes.space != "world":
        what = f"codes of {codes.space!r} have no action units"
        raise MienError(what, where="sliders.units", fix="edit them with modes.mix and a target")
    psi = codes.expression.copy()
    for text in units:
        number, side, sign, value = _parsed(text)
        first = 2 * UNITS.index(number)
        places = [first, first + 1] if not side else [first + "LR".index(side)]
        psi[places] = (psi[places] if sign else 0) + np.float32(-value if sign == "-" else value)
    return np.clip(psi, 0, None)


def _parsed(text: str) -> tuple[int, str, str, float]:
    """Unit, side or "", sign or "", value."""
    match = _UNIT.fullmatch(text.strip())
    if match is None:
        raise MienError(f"{text!r} moves no action unit", where="sliders.units", fix=_FIX)
    number, side, sign, value = int(match[1]), match[2], match[3], float(match[4])
    if number not in ACTION_UNITS:
        close = difflib.get_close_matches(f"AU{number}", [f"AU{unit}" for unit in UNITS], n=1, cutoff=0.3)
        fix = f"did you mean {close[0]}?" if close else _FIX
        raise MienError(f"no action unit AU{number}", where="sliders.units", fix=fix)
    if side and not ACTION_UNITS[number].lateral:
        raise MienError(f"AU{number} has no sides", where="sliders.units", fix=f"write AU{number}=...")
    return number, side, sign, value
