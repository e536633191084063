"""Features of the built-in head at rest, its identity modes and its landmarks."""

from __future__ import annotations

import numpy as np

from mien.faces.fields import bump, pair, step
from mien.faces.head_surface import (
    EYE_INNER,
    EYE_LINE,
    EYE_OUTER,
    MOUTH_CORNER,
    MOUTH_LINE,
    Grid,
    loft,
)

_HALF_LANDMARKS = [
    (9.1, 3.6), (9.0, 1.5), (8.8, -0.8), (8.6, -4.4), (7.6, -6.9), (5.8, -7.5),
    (3.9, -7.6), (1.9, -7.6), (0.0, -7.6),
]  # fmt: skip
_LEFT_BROW = [(1.25, 5.75), (2.5, 6.05), (3.8, 6.15), (4.8, 5.9), (5.6, 5.3)]


def landmark_chart() -> tuple[np.ndarray, np.ndarray]:
    """Chart of the 68 Multi-PIE (iBUG) landmarks, float32 [68, 2], and the lower side of a cut, bool [68].

    Order as iBUG: jaw from the person's right ear to the left one, right brow, left brow, nose, right eye,
    left eye, outer lips, inner lips.
    """
    right = [(-u, v) for u, v in _HALF_LANDMARKS]
    jaw = right + [(u, v) for u, v in _HALF_LANDMARKS[-2::-1]]
    brows = [(-u, v) for u, v in _LEFT_BROW[::-1]] + _LEFT_BROW
    nose = [
        (0, 3.7),
        (0, 2.6),
        (0, 1.6),
        (0, 0.45),
        (-1.2, -0.95),
        (-0.6, -1.1),
        (0, -1.2),
        (0.6, -1.1),
        (1.2, -0.95),
    ]
    e = EYE_LINE
    left_eye = [(1.8, e), (2.8, e), (3.8, e), (4.6, e), (3.8, e), (2.8, e)]
    right_eye = [(-u, v) for u, v in (left_eye[i] for i in (3, 2, 1, 0, 5, 4))]
    m, c = MOUTH_LINE, MOUTH_CORNER
    outer = [(-c, m), (-1.7, -2.75), (-0.6, -2.4), (0, -2.5), (0.6, -2.4), (1.7, -2.75), (c, m),
             (1.7, -4.05), (0.8, -4.4), (0, -4.45), (-0.8, -4.4), (-1.7, -4.05)]  # fmt: skip
    inner = [(-2.2, m), (-1, m), (0, m), (1, m), (2.2, m), (1, m), (0, m), (-1, m)]
    chart = np.array(jaw + brows + nose + right_eye + left_eye + outer + inner, np.float32)
    below = np.zeros(68, bool)
    below[[40, 41, 46, 47, 65, 66, 67]] = True
    return chart, below


def landmark_vertices(grid: Grid) -> np.ndarray:
    """Skin vertices of the 68 landmarks, int [68]."""
    chart, below = landmark_chart()
    found = []
    for (u, v), under in zip(chart, below):
        distance = np.hypot(grid.chart[:, 0] - u, grid.chart[:, 1] - v) + (grid.rim > 0)
        cut = EYE_LINE if v > 0 else MOUTH_LINE
        side = grid.under_eye if v > 0 else grid.lower
        wrong = (np.abs(grid.chart[:, 1] - cut) < 1e-3) & (side != under) & (abs(v - cut) < 1e-3)
        found.append(int(np.argmin(distance + 0.01 * wrong)))
    return np.array(found)


def neutral(grid: Grid) -> np.ndarray:
    """Skin with closed lids and lips, float64 [n, 3]; the lids not yet laid over the eyeballs."""
    u, v = grid.chart.T.astype(float)
    a = np.abs(u)
    p = loft(grid.chart)
    front = step(a, 11.0, 8.0)
    z = np.zeros(len(u))
    z += 0.42 * pair(u, v, (3.0, 5.85), (2.1, 0.62)) + 0.2 * bump(u, v, (0, 5.6), (1.3, 0.8))  # brow ridge
    z -= 0.6 * pair(u, v, (1.55, 3.75), (0.7, 1.0)) + 0.3 * pair(u, v, (3.0, 4.55), (1.7, 0.5))  # sockets
    z -= 0.2 * pair(u, v, (3.2, 2.2), (1.4, 0.55))
    z += 0.5 * pair(u, v, (4.9, 1.0), (1.8, 1.1)) + 0.3 * pair(u, v, (3.4, 0.2), (1.5, 1.4))  # cheek bones
    z += 0.35 * pair(u, v, (2.35, 1.2), (0.75, 1.5))  # between nose and cheek
    z += 0.25 * pair(u, v, (4.4, -2.6), (1.9, 1.9)) - 0.25 * pair(u, v, (6.6, -2.0), (1.3, 1.6))
    z += _nose(u, v) + _lips(u, v, grid.lower)
    z += 0.45 * bump(u, v, (0, -6.6), (1.4, 0.85)) - 0.45 * bump(u, v, (0, -5.25), (1.6, 0.4))  # chin
    z += 0.3 * bump(u, v, (0, 8.6), (3.5, 1.8))  # forehead
    p[:, 2] += z * front
    p[:, 0] += np.sign(u) * 0.32 * pair(u, v, (1.35, -0.45), (0.55, 0.6))  # wings of the nose
    p[:, 1] -= 0.1 * bump(u, v, (0, -0.4), (0.9, 0.6))
    p[:, 1] -= 0.13 * pair(u, v, (MOUTH_CORNER, MOUTH_LINE), (0.8, 0.7))  # resting corners hang a little
    return p


def _nose(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    rise = np.interp(
        v,
        [-1.75, -1.2, -0.75, -0.2, 0.45, 1.6, 2.6, 3.7, 4.8, 5.6],
        [0, 0.55, 1.5, 2.25, 2.45, 1.8, 1.25, 0.7, 0.42, 0.0],
    )
    width = np.interp(v, [-1.0, 0.3, 1.6, 3.0, 4.2, 5.6], [0.92, 0.97, 0.88, 0.75, 0.78, 1.1])
    bridge = rise * np.exp(-0.5 * np.abs(u / width) ** 2.15)
    wings = 0.85 * pair(u, v, (1.2, -0.4), (0.42, 0.5)) - 0.3 * pair(u, v, (1.75, -0.1), (0.3, 0.8))
    nostrils = -0.5 * pair(u, v, (0.62, -0.92), (0.3, 0.2))
    return bridge + wings + nostrils


def _lips(u: np.ndarray, v: np.ndarray, lower: np.ndarray) -> np.ndarray:
    across = np.sqrt(np.clip(1 - (u / (MOUTH_CORNER + 0.25)) ** 2, 0, 1))
    height = v - MOUTH_LINE
    muzzle = 0.4 * bump(u, v, (0, -3.2), (2.4, 1.5))
    upper = across * (
        0.5 * np.exp(-0.5 * ((height - 0.5) / 0.42) ** 2) - 0.22 * np.exp(-0.5 * (height / 0.16) ** 2)
    )
    under = across * (
        0.55 * np.exp(-0.5 * ((height + 0.55) / 0.42) ** 2) - 0.25 * np.exp(-0.5 * (height / 0.16) ** 2)
    )
    corner = -0.3 * pair(u, v, (MOUTH_CORNER + 0.15, MOUTH_LINE), (0.4, 0.4))
    philtrum = -0.09 * bump(u, v, (0, -1.95), (0.24, 0.5)) + 0.07 * pair(u, v, (0.5, -1.95), (0.2, 0.5))
    return muzzle + np.where(lower > 0, under, upper) + corner + philtrum


def eye_opening(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the open upper and lower lid margins lie above and below the closed line, cm, at chart |u|."""
    t = (np.abs(u) - (EYE_INNER + EYE_OUTER) / 2) / ((EYE_OUTER - EYE_INNER) / 2)
    upper = 0.6 * np.clip(1 - np.abs(t) ** 2.2, 0, None) * (1 - 0.12 * t)
    lower = 0.30 * np.clip(1 - np.abs(t) ** 2.0, 0, None) * (1 + 0.25 * t)
    return upper, lower


def identity_modes(grid: Grid, skin: np.ndarray) -> np.ndarray:
    """Linear shape modes, float32 [modes, n, 3] cm per standard deviation, most visible first."""
    u, v = grid.chart.T.astype(float)
    x, y, z = skin.T
    s = np.sign(u)
    face = step(v, -13, -8.5)
    high, low = step(v, 2, 9), step(v, 0.0, -6.5) * face
    nose = bump(u, v, (0, 0.9), (1.7, 2.2))
    tip = bump(u, v, (0, 0.1), (1.1, 1.0))
    bridge = bump(u, v, (0, 2.8), (0.9, 1.7))
    mouth = bump(u, v, (0, -3.4), (2.6, 1.1))
    upper = bump(u, v, (0, -2.85), (2.2, 0.42)) * (1 - grid.lower)
    under = bump(u, v, (0, -3.95), (2.0, 0.45)) * grid.lower
    chin = bump(u, v, (0, -6.8), (2.3, 1.5))
    jaw = pair(u, v, (7.2, -6.3), (2.6, 2.2))
    eyes = pair(u, v, (3.2, 3.6), (2.1, 1.5))
    brow = pair(u, v, (3.4, 5.9), (2.4, 0.8))
    zero = np.zeros(len(u))

    def mode(dx: np.ndarray = zero, dy: np.ndarray = zero, dz: np.ndarray = zero) -> np.ndarray:
        return np.stack([dx, dy, dz], axis=1)

    lateral = (z * 0 + 1) * 0.5
    modes = [
        mode(dx=0.035 * x * face),  # width of the head
        mode(dy=0.045 * (y - 3.4) * face),  # length of the face
        mode(dx=0.06 * x * low),  # width of the jaw
        mode(dx=s * 0.16 * jaw, dy=-0.16 * jaw),  # angle of the jaw
        mode(
            dy=-0.42 * step(v, -4.6, -7.0) * face * step(np.abs(u), 9, 4), dz=0.1 * chin
        ),  # height of the chin
        mode(dz=0.45 * chin),
        mode(dx=0.28 * x * chin),  # square or pointed chin
        mode(dy=-0.28 * tip - 0.12 * nose),  # length of the nose
        mode(dx=0.22 * u * bump(u, v, (0, -0.3), (1.6, 0.9))),  # width of the nose
        mode(dz=0.32 * tip + 0.15 * nose),
        mode(dz=0.28 * bridge),
        mode(dx=0.16 * u * bridge),
        mode(dy=0.22 * tip, dz=-0.05 * tip),  # turned up or down
        mode(dx=s * 0.16 * eyes),  # spacing of the eyes
        mode(dx=0.07 * (x - s * 3.2) * eyes, dy=0.13 * (y - 3.5) * eyes),  # size of the eyes
        mode(dy=0.13 * (np.abs(u) - 3.2) * pair(u, v, (3.2, 3.5), (1.7, 0.9))),  # slant of the eyes
        mode(dy=0.3 * upper * (v - MOUTH_LINE), dz=0.16 * upper),  # thickness of the lips
        mode(dy=0.3 * under * (v - MOUTH_LINE), dz=0.18 * under),
        mode(dx=0.10 * x * mouth),  # width of the mouth
        mode(dy=0.2 * bump(u, v, (0, -3.4), (3.0, 1.6))),  # height of the mouth
        mode(dy=0.22 * brow),  # height of the brows
        mode(dz=0.2 * brow, dy=-0.06 * brow),
        mode(dy=0.18 * pair(u, v, (5.0, 5.6), (1.1, 0.7)) - 0.08 * pair(u, v, (1.6, 5.7), (0.9, 0.6))),
        mode(dx=s * 0.3 * pair(u, v, (5.6, 0.8), (2.2, 1.3)), dz=0.2 * pair(u, v, (4.6, 0.9), (1.6, 1.0))),
        mode(
            dx=s * 0.16 * pair(u, v, (6.2, -2.8), (2.2, 2.0)), dz=0.3 * pair(u, v, (4.4, -2.8), (1.8, 1.8))
        ),  # fat
        mode(dz=0.35 * high * step(np.abs(u), 9, 4), dy=0.25 * step(v, 6, 13)),  # forehead
        mode(dx=0.05 * x * step(v, 4, 8)),  # width of the temples
        mode(
            dz=-0.25 * pair(u, v, (3.0, 4.5), (1.6, 0.6)) - 0.15 * pair(u, v, (3.0, 2.3), (1.3, 0.6))
        ),  # deep eyes
        mode(dz=0.22 * bump(u, v, (0, -3.0), (2.6, 1.6))),  # muzzle
        mode(dx=0.12 * x * step(v, -8.0, -11.0) * step(v, -19, -15)),  # neck
        # The two sides differ: nose to a side, one brow or mouth corner higher.
        mode(dx=0.14 * nose, dy=0.10 * s * brow * lateral),
        mode(dy=0.09 * s * pair(u, v, (MOUTH_CORNER, -3.4), (1.2, 0.9)), dx=0.12 * chin),
    ]
    return np.stack(modes).astype(np.float32)
