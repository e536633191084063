"""What each action unit does to the built-in head: displacement fields over the chart, and how units combine.

The fields follow the FACS descriptions of appearance changes (Ekman, Friesen and Hager 2002); amplitudes are
those of grade E, slightly exaggerated so that they read at 96 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mien.faces.actions import ACTION_UNITS, Actions
from mien.faces.fields import bump, pair, sides, step
from mien.faces.head_features import eye_opening
from mien.faces.head_surface import EYE_LINE, MOUTH_CORNER, MOUTH_LINE, Grid

JAW_AXIS = np.array([0.0, 1.5, 0.5])
"""Point of the axis (along x) the jaw turns about."""
JAW_OPEN = 22.0
"""Jaw angle of AU27 at full intensity, degrees."""


def action_shapes(grid: Grid, skin: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Expressions at full strength: names ("12_L", "27", ...) and displacements float32 [names, n, 3], cm."""
    u, v = grid.chart.T.astype(float)
    left, right = sides(u)
    shapes: dict[str, np.ndarray] = {}
    whole = {**_brow_eye(u, v, grid), **_cheek_nose(u, v, grid), **_mouth(u, v, grid)}
    for name, shape in whole.items():
        if name.isdigit() and not ACTION_UNITS[int(name)].lateral:
            shapes[name] = shape
        else:
            shapes[name + "_L"] = shape * left[:, None]
            shapes[name + "_R"] = shape * right[:, None]
    shapes["27"] = jaw_drop(skin, jaw_weight(u, v, grid), JAW_OPEN)
    return list(shapes), np.stack(list(shapes.values())).astype(np.float32)


def jaw_weight(u: np.ndarray, v: np.ndarray, grid: Grid) -> np.ndarray:
    """How far each skin point follows the jaw bone, in [0, 1]."""
    a = np.abs(u)
    across = np.sqrt(np.clip(1 - (u / MOUTH_CORNER) ** 2, 0, 1))
    beside = step(v, -0.6, -6.0) * step(a, 10.5, 7.0)
    lip = np.where(grid.lower > 0, 0.34 + 0.66 * across, 0.34 - 0.30 * across)
    near = step(a, MOUTH_CORNER + 1.6, MOUTH_CORNER - 0.4) * step(v, -1.9, -3.2)
    chin = step(v, -3.6, -5.2) * step(a, 8.5, 3.5)
    weight = beside * (1 - near) + near * lip
    weight = np.where(grid.lower > 0, np.maximum(weight, chin), weight)
    return weight * step(v, -13.0, -8.4)


def jaw_drop(points: np.ndarray, weight: np.ndarray, degrees: float) -> np.ndarray:
    """Displacement of `points` [n, 3] that follow the jaw by `weight` when it opens by `degrees`."""
    angle = np.deg2rad(degrees) * weight
    y, z = (points - JAW_AXIS)[:, 1:].T
    dy = np.cos(angle) * y - np.sin(angle) * z - y
    dz = np.sin(angle) * y + np.cos(angle) * z - z
    return np.stack([np.zeros(len(y)), dy, dz], axis=1)


def _vector(
    dx: np.ndarray | float, dy: np.ndarray | float, dz: np.ndarray | float, like: np.ndarray
) -> np.ndarray:
    return np.stack([np.broadcast_to(np.asarray(d, float), like.shape) for d in (dx, dy, dz)], axis=1)


def _brow_eye(u: np.ndarray, v: np.ndarray, grid: Grid) -> dict[str, np.ndarray]:
    s = np.sign(u)
    inner = pair(u, v, (1.4, 6.0), (1.5, 1.15))
    outer = pair(u, v, (4.4, 5.9), (1.8, 1.15))
    forehead = step(v, 5.4, 6.5) * step(v, 11, 8) * step(np.abs(u), 7, 3)
    lid_fold = pair(u, v, (3.6, 5.0), (1.7, 0.5))
    upper, lower = eye_opening(u)
    above = np.clip(1 - np.clip(v - EYE_LINE, 0, None) / 1.75, 0, 1) ** 1.2 * (grid.under_eye == 0)
    below = np.clip(1 + np.clip(v - EYE_LINE, None, 0) / 1.5, 0, 1) ** 1.2 * (grid.under_eye > 0)
    return {
        "1": _vector(
            0.0, 0.95 * inner + 0.25 * forehead * pair(u, v, (1.2, 7.4), (1.8, 1.6)), 0.06 * inner, u
        ),
        "2": _vector(
            0.0, 0.95 * outer + 0.25 * forehead * pair(u, v, (4.8, 7.2), (1.8, 1.6)), 0.05 * outer, u
        ),
        "4": _vector(
            -s * 0.42 * pair(u, v, (1.7, 5.9), (1.3, 0.9)),
            -0.75 * pair(u, v, (1.7, 5.8), (1.9, 1.0)) - 0.28 * lid_fold,
            0.22 * pair(u, v, (1.0, 5.6), (0.9, 0.9)),
            u,
        ),
        "7": _vector(
            0.0, 0.16 * pair(u, v, (3.3, 2.6), (1.7, 0.5)), 0.16 * pair(u, v, (3.3, 2.6), (1.7, 0.4)), u
        ),
        "lid_up": _vector(0.0, upper * above, 0.0, u),
        "lid_low": _vector(0.0, -lower * below, 0.0, u),
        "lid_close": _vector(0.0, -0.85 * lower * (above + below), 0.0, u),
    }


def _cheek_nose(u: np.ndarray, v: np.ndarray, grid: Grid) -> dict[str, np.ndarray]:
    s = np.sign(u)
    cheek = pair(u, v, (3.9, 0.7), (1.8, 1.2))
    pouch = pair(u, v, (3.4, 2.1), (1.7, 0.55))
    crow = pair(u, v, (5.4, 3.2), (0.9, 1.0))
    wing = pair(u, v, (1.2, -0.35), (0.75, 0.8))
    root = pair(u, v, (0.9, 2.9), (0.9, 1.3))
    upper_lip = _lip(u, v, grid, upper=True)
    fold = pair(u, v, (2.2, -0.9), (0.8, 1.1))
    return {
        "6": _vector(
            -s * 0.18 * crow, 0.65 * cheek + 0.35 * pouch - 0.12 * crow, 0.6 * cheek + 0.32 * pouch, u
        ),
        "9": _vector(
            -s * 0.1 * root,
            0.55 * wing
            + 0.4 * bump(u, v, (0, 0.8), (1.3, 1.6)) * 0.6
            - 0.38 * pair(u, v, (1.3, 5.6), (1.3, 0.9))
            + 0.34 * upper_lip * np.exp(-0.5 * (u / 1.8) ** 4)
            + 0.3 * pair(u, v, (2.4, 1.2), (1.1, 1.0)),
            0.15 * wing + 0.22 * pair(u, v, (1.0, 2.2), (0.5, 0.9)),
            u,
        ),
        "10": _vector(
            0.0,
            0.66 * upper_lip * np.exp(-0.5 * (u / 1.9) ** 4) + 0.35 * fold + 0.25 * wing,
            0.2 * upper_lip + 0.3 * pair(u, v, (2.6, -0.3), (0.9, 0.9)),
            u,
        ),
        "11": _vector(
            s * 0.14 * fold,
            0.3 * pair(u, v, (2.1, -0.6), (0.8, 0.9)) + 0.06 * upper_lip,
            -0.38 * pair(u, v, (2.1, -1.3), (0.4, 0.9)) + 0.42 * pair(u, v, (3.1, -0.5), (0.8, 0.9)),
            u,
        ),
    }


def _lip(u: np.ndarray, v: np.ndarray, grid: Grid, upper: bool) -> np.ndarray:
    """Weight of the upper (or lower) lip with the skin beside it, 1 on the red, 0 at the corners."""
    across = step(np.abs(u), MOUTH_CORNER + 0.05, MOUTH_CORNER - 1.4)
    if upper:
        return across * step(v, -1.0, -2.5) * (grid.lower == 0) * (v < 0)
    return across * step(v, -5.8, -4.3) * (grid.lower > 0)


def _pull(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """How far each point follows the lip corners: 1 there, a parabola along the lips, soft beyond."""
    a, line = np.abs(u), v - MOUTH_LINE
    along = np.where(
        a < MOUTH_CORNER, (a / MOUTH_CORNER) ** 1.7, np.exp(-0.5 * ((a - MOUTH_CORNER) / 1.0) ** 2)
    )
    return along * np.exp(-0.5 * (line / np.where(line > 0, 1.35, 1.2)) ** 2)


def _mouth(u: np.ndarray, v: np.ndarray, grid: Grid) -> dict[str, np.ndarray]:
    return {**_corners(u, v, grid), **_lips_and_chin(u, v, grid)}


def _corners(u: np.ndarray, v: np.ndarray, grid: Grid) -> dict[str, np.ndarray]:
    """Units that pull the corners of the lips."""
    s = np.sign(u)
    pull = _pull(u, v)
    lips = np.maximum(_lip(u, v, grid, True), _lip(u, v, grid, False))
    thin = -0.16 * (v - MOUTH_LINE) * lips
    cheek, apple = pair(u, v, (4.4, -1.4), (1.4, 1.4)), pair(u, v, (4.1, -0.3), (1.3, 1.2))
    pit = pair(u, v, (MOUTH_CORNER + 0.45, MOUTH_LINE), (0.5, 0.65))
    rim = pair(u, v, (MOUTH_CORNER + 1.4, MOUTH_LINE), (0.5, 1.0))
    jowl = pair(u, v, (3.1, -4.9), (0.8, 0.8))
    return {
        "12": _vector(
            s * (1.0 * pull + 0.25 * cheek),
            1.1 * pull + 0.3 * cheek + 0.25 * apple + thin,
            -0.55 * pull + 0.5 * apple + 0.2 * cheek - 0.1 * lips,
            u,
        ),
        "14": _vector(s * 0.5 * pull, 0.12 * pull + 0.5 * thin, -0.35 * pull - 0.55 * pit + 0.35 * rim, u),
        "15": _vector(s * 0.1 * pull, -1.0 * pull, -0.1 * pull + 0.25 * jowl, u),
        "20": _vector(s * 1.15 * pull, -0.3 * pull + 1.3 * thin, -0.6 * pull - 0.15 * lips, u),
    }


def _lips_and_chin(u: np.ndarray, v: np.ndarray, grid: Grid) -> dict[str, np.ndarray]:
    """Units that part, press, purse or push the lips."""
    a, line = np.abs(u), v - MOUTH_LINE
    up, low = _lip(u, v, grid, True), _lip(u, v, grid, False)
    lips, gap, pull = np.maximum(up, low), _gap(u), _pull(u, v)
    chin = bump(u, v, (0, -5.9), (1.7, 1.1))
    around = bump(u, v, (0, -3.4), (2.7, 1.7))
    front = bump(u, v, (0, -3.4), (1.6, 1.2))
    bulge = bump(u, v, (0, -2.2), (2.2, 0.5)) + bump(u, v, (0, -4.7), (2.0, 0.5))
    flat = np.exp(-0.5 * (a / 1.8) ** 4)
    groove = bump(u, v, (0, -4.9), (1.5, 0.4))
    return {
        "16": _vector(np.sign(u) * 0.12 * low, -0.85 * low * gap - 0.2 * chin, 0.12 * low, u),
        "17": _vector(
            0.0,
            0.75 * chin + 0.55 * low + 0.5 * up * np.exp(-0.5 * (u / 1.6) ** 2) - 0.28 * pull,
            0.35 * chin + 0.3 * low - 0.25 * groove,
            u,
        ),
        "18": _vector(-0.52 * u * around, 0.12 * line * lips, 0.95 * front, u),
        "22": _vector(-0.26 * u * around, gap * (0.38 * up - 0.42 * low), 0.95 * lips * flat, u),
        "23": _vector(-0.16 * u * around, -0.55 * line * lips, -0.1 * lips + 0.12 * bulge, u),
        "24": _vector(-0.03 * u * around, -0.68 * line * lips + 0.2 * chin, -0.35 * lips + 0.3 * bulge, u),
        "25": _vector(0.0, gap * (0.28 * up - 0.52 * low), 0.0, u),
        "28": _vector(0.0, -0.72 * line * lips, -0.75 * lips * np.exp(-0.5 * (line / 0.8) ** 2), u),
    }


def _gap(u: np.ndarray) -> np.ndarray:
    return np.sqrt(np.clip(1 - (u / MOUTH_CORNER) ** 2, 0, 1))


def jaw_opening(actions: Actions) -> float:
    """Fraction of `JAW_OPEN` in [0, 1] that AU25, 26 and 27 open the jaw by."""
    part, drop, wide = (actions.intensity(n) for n in (25, 26, 27))
    return min(1.0, max(0.08 * part + 0.42 * drop, wide))


def lid_state(side: Mapping[int, float], gaze_pitch: float) -> tuple[float, float, float]:
    """Openness of the upper and lower lid of an eye (1 at rest, 0 closed), and how far they are closed.

    Args:
        side: intensities of that side.
        gaze_pitch: degrees, > 0 up; the upper lid follows the eye.
    """
    # A weak side (`Person.gain`) still closes fully.
    closed = min(1.0, 1.15 * max(side.get(43, 0.0), side.get(45, 0.0)))
    squeeze = side.get(7, 0.0)
    upper = 1 + 0.62 * side.get(5, 0.0) - 0.22 * squeeze - 0.12 * side.get(6, 0.0) - 0.10 * side.get(9, 0.0)
    upper += np.clip(gaze_pitch, -25, 20) * 0.016
    lower = 1 + 0.25 * side.get(5, 0.0) - 1.15 * squeeze - 0.6 * side.get(6, 0.0) - 0.3 * side.get(9, 0.0)
    lower += np.clip(-gaze_pitch, -15, 15) * 0.012
    open_ = 1 - closed
    return max(0.0, float(upper)) * open_, float(max(-0.55, lower)) * open_, closed


def shape_weights(actions: Actions, gaze_pitch: float = 0.0) -> dict[str, float]:
    """Weights of `action_shapes` for `actions`; a shape that is absent has weight 0."""
    weights: dict[str, float] = {}
    for letter, side in (("L", actions.left), ("R", actions.right)):
        for number, value in side.items():
            unit = ACTION_UNITS[number]
            if number in (5, 26, 27, 43, 45):
                continue
            weights[f"{number}_{letter}" if unit.lateral else str(number)] = float(value)
        for lid, value in zip(("lid_up", "lid_low", "lid_close"), lid_state(side, gaze_pitch)):
            weights[f"{lid}_{letter}"] = value
    weights["27"] = jaw_opening(actions)
    # Whatever opens the jaw parts the lips, too.
    weights["25"] = max(actions.intensity(25), 0.6 * actions.intensity(26), 0.85 * actions.intensity(27))
    return {name: value for name, value in weights.items() if value != 0.0}
