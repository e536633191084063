"""Which codes an edit takes from the target (rigface spec, 2: mode table, column "correct rendering")."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from mien.errors import MienError
from mien.systems.rigface.codes import Codes, Pose

MODES = ("exp", "pose", "light")
"""Parts of an edit, in the order they are written."""

STRONGEST = 1.3
"""Strength beyond which an edit is refused: 1 is the target, more overdoes it."""

_TURNS = "yxz"  # about y, then x, then z, each about the camera's axes, as in mien.faces.camera.rotation


@dataclass(frozen=True)
class Edit:
    """Which codes come from the target.

    Attributes:
        modes: of `MODES`, in their order, at least one.
    """

    modes: tuple[str, ...]

    @property
    def psi(self) -> Literal["source", "target"]:
        """Whose expression vector the network gets; either way the one of the mixed codes."""
        return "target" if "exp" in self.modes else "source"

    @property
    def mask(self) -> Literal["source", "union"]:
        """What is greyed in the background: a turned head needs room where the target has its person."""
        return "union" if "pose" in self.modes else "source"

    def __str__(self) -> str:
        return "+".join(self.modes)


EDITS = tuple(
    Edit(modes)
    for modes in (
        ("exp",), ("pose",), ("light",), ("exp", "pose"), ("exp", "light"), ("pose", "light"), MODES,
    )
)  # fmt: skip
"""The seven edits there are."""


def parse_modes(modes: str | Iterable[str]) -> Edit:
    """Modes by name: "exp", "light+exp" or ("pose", "light"), in any order.

    Raises:
        MienError: for an unknown or repeated name, or for none.
    """
    names = [n.strip() for n in modes.split("+")] if isinstance(modes, str) else list(modes)
    for name in names:
        if name not in MODES:
            close = difflib.get_close_matches(name, MODES, n=1)
            fix = f"did you mean {close[0]!r}?" if close else f"join some of {', '.join(MODES)} by '+'"
            raise MienError(f"no mode {name!r}", where="modes", fix=fix)
    if not names or len(set(names)) < len(names):
        what = f"{'+'.join(names)!r} names a mode twice" if names else "no mode is named"
        raise MienError(what, where="modes", fix=f"join some of {', '.join(MODES)} by '+', each once")
    return Edit(tuple(mode for mode in MODES if mode in names))


def mix(source: Codes, target: Codes, modes: str | Iterable[str], strength: float = 1.0) -> Codes:
    """The source with the codes that `modes` name moved towards the target.

    Shape, base colour, camera, crop and gaze stay the source's, whoever the target is. Expression, jaw and
    light move in a straight line, the rotation of the head along the shortest arc.

    Args:
        source: whose picture is edited.
        target: of the same code space.
        modes: as `parse_modes` takes them.
        strength: 0 is the source, 1 the target, up to `STRONGEST` overdoes it.

    Raises:
        MienError: for unknown modes, a strength outside [0, `STRONGEST`], or codes of two spaces.
    """
    edit = parse_modes(modes)
    if not 0 <= strength <= STRONGEST:
        raise MienError(f"strength {strength}", where="strength", fix=f"give 0 to {STRONGEST}")
    if source.space != target.space:
        what = f"source codes of {source.space!r}, target codes of {target.space!r}"
        raise MienError(what, where="mix", fix="fit both pictures with one backend")
    mixed = source
    if "exp" in edit.modes:
        mixed = replace(mixed, expression=_line(source.expression, target.expression, strength))
    if "pose" in edit.modes:
        mixed = replace(mixed, pose=arc(source.pose, target.pose, strength))
    if "light" in edit.modes:
        mixed = replace(mixed, light=_line(source.light, target.light, strength))
    return mixed


def arc(start: Pose, end: Pose, share: float) -> Pose:
    """Spherical interpolation of two poses: 0 is `start`, 1 is `end`, beyond 1 the turn goes on."""
    if share in (0, 1):
        return end if share else start
    first, last = (head_turn(pose) for pose in (start, end))
    # Both rotations are about the camera's axes, so the way between them is, too.
    return head_pose(Rotation.from_rotvec(share * (last * first.inv()).as_rotvec()) * first)


def head_turn(pose: Pose) -> Rotation:
    """The rotation that `mien.faces.camera.rotation` gives as a matrix, in double precision."""
    yaw, pitch, roll = pose
    return Rotation.from_euler(_TURNS, [yaw, -pitch, -roll], degrees=True)


def head_pose(turn: Rotation) -> Pose:
    """The inverse of `head_turn`; pitch in [-90, 90]."""
    yaw, pitch, roll = turn.as_euler(_TURNS, degrees=True)
    return float(yaw), -float(pitch), -float(roll)


def _line(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    # Written so that 0 and 1 give the ends to the bit.
    return np.float32(1 - share) * start + np.float32(share) * end
