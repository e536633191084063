"""Which blendshapes of ICT-FaceKit show an action unit, and how units combine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mien.faces.actions import Actions

_SHAPES: dict[int, dict[str, float]] = {
    1: {"browInnerUp": 1.0},
    2: {"browOuterUp": 1.0},
    4: {"browDown": 1.0},
    5: {"eyeWide": 1.1},
    6: {"cheekSquint": 1.0, "eyeSquint": 0.55},
    7: {"eyeSquint": 1.0, "cheekSquint": 0.15},
    9: {"noseSneer": 1.0, "browDown": 0.25, "cheekSquint": 0.25},
    10: {"mouthUpperUp": 0.85, "noseSneer": 0.25},
    11: {"mouthUpperUp": 0.35, "cheekSquint": 0.45, "noseSneer": 0.15},
    12: {"mouthSmile": 1.0},
    14: {"mouthDimple": 1.0},
    15: {"mouthFrown": 1.0},
    16: {"mouthLowerDown": 1.0},
    17: {"mouthShrugLower": 1.0, "mouthShrugUpper": 0.5},
    18: {"mouthPucker": 1.0},
    20: {"mouthStretch": 1.0},
    22: {"mouthFunnel": 1.0},
    23: {"mouthPress": 0.6, "mouthRollLower": 0.3, "mouthRollUpper": 0.3, "mouthPucker": 0.2},
    24: {"mouthPress": 0.9, "mouthRollLower": 0.4, "mouthRollUpper": 0.4},
    25: {"mouthLowerDown": 0.2, "mouthUpperUp": 0.15},
    28: {"mouthRollLower": 1.0, "mouthRollUpper": 1.0},
}  # fmt: skip
"""Action unit -> blendshape -> weight at intensity 1. The nearest shapes stand in
for AU11, 23 and 24, which the model lacks. Jaw (25, 26, 27) and lids (43, 45) are combined in `blend`."""

_FULL_YAW, _FULL_PITCH = 30.0, 25.0


def blend(actions: Actions, gaze: tuple[float, float]) -> dict[str, float]:
    """Blendshape weights in [0, 1.2] of what a face shows, eyes turned by `gaze` (yaw, pitch; degrees).

    All but jawOpen carry a side: mouthPucker_L is the left half of the model's mouthPucker.
    """
    weights: dict[str, float] = {}
    for letter, side in (("L", actions.left), ("R", actions.right)):
        weights |= {f"{name}_{letter}": weight for name, weight in _side(side).items()}
        weights |= _lids(side, letter, gaze)
    part, drop, wide = (actions.intensity(n) for n in (25, 26, 27))
    weights["jawOpen"] = max(0.12 * part + 0.4 * drop, wide)
    return {name: float(np.clip(weight, 0, 1.2)) for name, weight in weights.items() if weight > 0}


def _side(side: Mapping[int, float]) -> dict[str, float]:
    total: dict[str, float] = {}
    for number, value in side.items():
        for name, weight in _SHAPES.get(number, {}).items():
            total[name] = total.get(name, 0.0) + weight * value
    closed = _closed(side)
    for name in ("eyeWide", "eyeSquint"):
        # Open and tight lids would add to shut ones and push them through each other.
        if name in total:
            total[name] *= 1 - closed
    return total


def _closed(side: Mapping[int, float]) -> float:
    return min(1.0, max(side.get(43, 0.0), side.get(45, 0.0)))


def _lids(side: Mapping[int, float], letter: str, gaze: tuple[float, float]) -> dict[str, float]:
    """Lids follow the eye; a shut lid does not."""
    closed = _closed(side)
    yaw, pitch = gaze[0] / _FULL_YAW * (1 if letter == "L" else -1), gaze[1] / _FULL_PITCH
    look = {"eyeLookOut": yaw, "eyeLookIn": -yaw, "eyeLookUp": pitch, "eyeLookDown": -pitch}
    weights = {f"{name}_{letter}": (1 - closed) * max(0.0, value) for name, value in look.items()}
    return weights | {f"eyeBlink_{letter}": closed}
