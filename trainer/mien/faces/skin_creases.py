"""Folds that action units press into the skin of the built-in head, as maps over the chart."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mien.faces.actions import ACTION_UNITS, Actions
from mien.faces.fields import pair, sides, step, stroke
from mien.faces.head_surface import MOUTH_CORNER, MOUTH_LINE
from mien.faces.skin_masks import texture_chart

_SIZE = 256
_NASOLABIAL = [(1.45, 0.0), (1.9, -0.75), (2.5, -1.7), (3.15, -2.7), (3.5, -3.6)]


def crease_map(actions: Actions, age: float) -> np.ndarray:
    """Depth of all folds, float32 [256, 256], about [0, 1].

    Args:
        actions: what the face shows.
        age: in [0, 1]; deepens the folds and leaves some at rest.
    """
    names, atlas = _atlas()
    weights = np.zeros(len(names), np.float32)
    depth = 0.75 + 0.45 * age
    for i, name in enumerate(names):
        number, _, letter = name.partition("_")
        if number == "age":
            weights[i] = max(0.0, age - 0.25)
            continue
        side = actions.left if letter == "L" else actions.right
        value = side.get(int(number), 0.0) if letter else actions.intensity(int(number))
        weights[i] = depth * value**1.2
    return (weights @ atlas.reshape(len(names), -1)).reshape(_SIZE, _SIZE)


@lru_cache(maxsize=1)
def _atlas() -> tuple[list[str], np.ndarray]:
    """Names ("12_L", "17", "age") and float32 [names, 256, 256] maps of the folds at full intensity."""
    u, v = texture_chart(_SIZE)
    left, right = sides(u)
    maps: dict[str, np.ndarray] = {}
    for number, fold in _folds(u, v).items():
        if number != "age" and ACTION_UNITS[int(number)].lateral:
            maps[f"{number}_L"], maps[f"{number}_R"] = fold * left, fold * right
        else:
            maps[number] = fold
    return list(maps), np.stack(list(maps.values())).astype(np.float32)


def _folds(u: np.ndarray, v: np.ndarray) -> dict[str, np.ndarray]:
    a = np.abs(u)
    corner = MOUTH_CORNER
    nasolabial = stroke(a, v, _NASOLABIAL, 0.16)
    upper_fold = stroke(a, v, _NASOLABIAL[:3], 0.17)
    crow = sum(stroke(a, v, [(5.0, 3.4 + 0.1 * k), (6.2, 3.4 + 0.62 * k)], 0.07) for k in (-1.4, -0.2, 0.9))
    pouch = stroke(a, v, [(1.9, 2.75), (2.8, 2.3), (3.9, 2.4), (4.8, 2.9)], 0.1)
    brow_inner, brow_outer = step(a, 4.2, 1.2), step(a, 2.4, 4.2) * step(a, 7.2, 5.8)
    rows = sum(np.exp(-0.5 * ((v - h - 0.12 * np.cos(u * 0.9)) / 0.09) ** 2) for h in (7.15, 8.0, 8.8))
    glabella = stroke(a, v, [(0.5, 4.95), (0.6, 5.6), (0.74, 6.15)], 0.11)
    bunny = sum(stroke(a, v, [(0.15, 2.6 + 0.55 * k), (0.95, 2.25 + 0.55 * k)], 0.08) for k in (0, 1, 2))
    dimple = stroke(
        a,
        v,
        [(corner + 0.55, MOUTH_LINE + 0.7), (corner + 0.75, MOUTH_LINE), (corner + 0.5, MOUTH_LINE - 0.7)],
        0.14,
    )
    marionette = stroke(
        a,
        v,
        [(corner + 0.05, MOUTH_LINE - 0.1), (corner + 0.45, MOUTH_LINE - 0.9), (corner + 0.55, -5.2)],
        0.13,
    )
    chin = stroke(a, v, [(0.0, -5.0), (1.0, -5.1), (1.9, -5.5)], 0.15)
    pits = 0.5 * sum(
        pair(u, v, (x, y), (0.16, 0.16)) for x, y in ((0.3, -5.9), (0.9, -6.1), (0.5, -6.6), (1.1, -5.6))
    )
    beside = stroke(a, v, [(corner + 0.5, -2.6), (corner + 1.0, -3.4), (corner + 0.9, -4.4)], 0.13)
    puckers = sum(stroke(u, v, [(x, -2.2), (x * 0.75, -2.9)], 0.06) for x in (-1.2, -0.6, 0.6, 1.2))
    return {
        "1": 0.75 * rows * brow_inner,
        "2": 0.75 * rows * brow_outer,
        "4": 0.95 * glabella + 0.4 * stroke(u, v, [(-0.6, 4.75), (0.6, 4.75)], 0.1),
        "6": 0.75 * crow + 0.6 * pouch + 0.2 * nasolabial,
        "7": 0.5 * pouch + 0.2 * crow,
        "9": 0.85 * bunny + 0.45 * upper_fold + 0.35 * glabella,
        "10": 0.8 * upper_fold + 0.25 * nasolabial,
        "11": 0.85 * stroke(a, v, _NASOLABIAL[:4], 0.15),
        "12": 0.75 * nasolabial + 0.2 * dimple,
        "14": 0.9 * dimple,
        "15": 0.75 * marionette,
        "17": 0.6 * chin + pits,
        "18": 0.6 * puckers,
        "20": 0.55 * beside + 0.2 * nasolabial,
        "23": 0.45 * puckers,
        "24": 0.4 * chin + 0.3 * stroke(a, v, [(corner - 0.1, -3.1), (corner + 0.5, -3.6)], 0.15),
        "28": 0.3 * puckers,
        "age": 0.4 * pouch
        + 0.55 * nasolabial
        + 0.28 * rows * step(a, 6.5, 4.0) + 0.3 * crow + 0.4 * glabella + 0.45 * marionette,
    }  # fmt: skip
