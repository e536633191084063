"""The skin of the built-in head at rest: a lofted skull, cut open at eyes and mouth.

Everything on the skin is addressed by its chart (u, v), about centimetres on the average face: u runs from
the midline to the person's left, v upwards. On the front of the face x is about u and y about v. The head
frame: x to the person's left, y up, z out of the face; cm; eye centres near y = 3.5, mouth near -3.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EYE_LINE, MOUTH_LINE = 3.4, -3.35
EYE_INNER, EYE_OUTER, MOUTH_CORNER = 1.8, 4.6, 2.6
EYE_CENTRE = np.array([3.2, 3.5, 8.1], np.float32)
EYE_RADIUS, LID_RADIUS = 1.42, 1.53
_HALF_WIDTH = 7.5

# Control rings from the crown to the shoulders:
# chart v; front (y, z); side (x, y, z); back (y, z); fullness of the front.
_RINGS = np.array(
    [
        [14.4, 14.4, -0.4, 0.2, 14.4, -0.8, 14.4, -1.2, 1.0],
        [13.6, 13.7, 3.4, 3.9, 13.4, -0.9, 13.4, -4.8, 0.95],
        [12.0, 12.1, 6.6, 6.2, 11.5, -0.9, 11.4, -7.4, 0.85],
        [10.0, 10.0, 8.7, 7.2, 9.5, -0.8, 8.9, -8.9, 0.8],
        [8.0, 8.0, 9.75, 7.55, 7.6, -0.6, 6.2, -9.2, 0.78],
        [6.0, 6.0, 10.2, 7.55, 5.7, -0.5, 3.8, -8.9, 0.78],
        [4.6, 4.6, 10.05, 7.5, 4.4, -0.4, 2.0, -8.3, 0.78],
        [3.4, 3.4, 9.95, 7.5, 3.3, -0.3, 0.4, -7.7, 0.78],
        [1.5, 1.5, 10.1, 7.45, 1.6, -0.1, -1.4, -6.9, 0.78],
        [-0.8, -0.8, 10.5, 7.2, -0.4, 0.1, -3.0, -6.3, 0.8],
        [-2.2, -2.2, 10.75, 6.95, -1.5, 0.2, -4.0, -6.0, 0.85],
        [-3.35, -3.35, 10.75, 6.75, -2.4, 0.2, -4.8, -5.9, 0.9],
        [-4.6, -4.6, 10.45, 6.55, -3.2, 0.2, -5.6, -5.8, 0.95],
        [-5.6, -5.6, 10.2, 6.4, -3.9, 0.2, -6.2, -5.8, 1.0],
        [-6.8, -6.8, 10.05, 6.1, -4.7, 0.1, -7.0, -5.8, 1.02],
        [-7.6, -7.6, 9.4, 5.75, -5.3, -0.1, -7.6, -5.8, 1.05],
        [-8.6, -8.05, 8.0, 5.4, -6.0, -0.5, -8.2, -5.8, 1.05],
        [-10.8, -8.5, 6.0, 5.1, -7.2, -1.0, -8.9, -5.9, 1.0],
        [-12.4, -9.6, 4.8, 5.0, -9.0, -1.2, -10.0, -6.0, 1.0],
        [-14.8, -12.0, 4.5, 5.3, -11.6, -1.4, -12.2, -6.3, 1.0],
        [-17.6, -15.0, 4.2, 7.0, -13.9, -1.5, -14.6, -6.6, 1.0],
        [-20.5, -17.5, 4.9, 13.0, -15.6, -1.4, -16.6, -6.9, 0.9],
        [-25.5, -22.5, 6.5, 19.0, -20.0, -1.0, -22.0, -7.2, 0.8],
    ]
)


@dataclass(frozen=True)
class Grid:
    """The skin as a mesh over the chart.

    Attributes:
        chart: float32 [n, 2], (u, v).
        lower: float32 [n], 1 on and below the mouth cut, else 0 (the lips differ at the same chart point).
        under_eye: float32 [n], 1 on and below the eye cut, else 0.
        rim: float32 [n], 0 on the outer skin, 1 and 2 on rows that turn inwards at a cut.
        slit: int8 [n], of a rim row: 1 eye, 2 mouth, else 0.
        margin: int32 [n], of a rim vertex the one on the edge of the cut it hangs on, else itself.
        triangles: int32 [t, 3], counter-clockwise from outside.
    """

    chart: np.ndarray
    lower: np.ndarray
    under_eye: np.ndarray
    rim: np.ndarray
    slit: np.ndarray
    margin: np.ndarray
    triangles: np.ndarray


def columns() -> np.ndarray:
    """Chart u of the grid columns, fine on the front of the face, ascending."""
    front = np.arange(0, 5.61, 0.2)
    turn = np.arcsin(front[-1] / _HALF_WIDTH)
    side = front[-1] + _HALF_WIDTH * np.cumsum(np.linspace(0.6, 1.4, 14) * (np.pi - turn) / 14)
    half = np.concatenate([front, side])
    return np.concatenate([-half[:0:-1], half])


def build_grid() -> Grid:
    """Mesh the chart in three strips (forehead, eyes to mouth, below) that part at eyes and mouth."""
    u = columns()
    strips = [
        np.concatenate(
            [
                [14.4, 14.1, 13.4, 12.6, 11.6, 10.6, 9.6, 8.8, 8.2, 7.7, 7.3],
                np.arange(7.0, EYE_LINE - 0.01, -0.2),
            ]
        ),
        np.linspace(EYE_LINE, MOUTH_LINE, 33),
        np.concatenate(
            [
                np.linspace(MOUTH_LINE, -7.6, 21),
                [-7.9, -8.3, -9, -10, -11.2, -12.4, -13.6, -15.5, -17.6, -19, -20.5, -23, -25.5],
            ]
        ),
    ]
    rows: list[dict[str, float]] = []
    for number, values in enumerate(strips):
        rows += [
            {"v": float(v), "lower": float(number == 2), "under_eye": float(number >= 1), "strip": number}
            for v in values
        ]
    width = len(u)
    index = np.arange(len(rows) * width).reshape(len(rows), width)
    open_eye = np.abs(np.abs(u) - (EYE_INNER + EYE_OUTER) / 2) < (EYE_OUTER - EYE_INNER) / 2 - 0.01
    open_mouth = np.abs(u) < MOUTH_CORNER - 0.01
    starts = np.cumsum([len(s) for s in strips])
    for start, parted in ((starts[0], open_eye), (starts[1], open_mouth)):
        index[start, ~parted] = index[start - 1, ~parted]
    quads = [index[a:b] for a, b in zip([0, *starts[:2]], starts)]
    triangles = np.concatenate([_quads(block) for block in quads])
    chart = np.stack(np.meshgrid(u, [r["v"] for r in rows]), axis=-1).reshape(-1, 2)
    flags = {k: np.repeat([r[k] for r in rows], width) for k in ("lower", "under_eye")}
    rim, slit = np.zeros(len(chart)), np.zeros(len(chart), np.int8)
    margin = np.arange(len(chart))
    for line, parted, kind in ((starts[0], open_eye, 1), (starts[1], open_mouth, 2)):
        for row, below in ((line - 1, False), (line, True)):
            for run in _runs(parted):
                ring = [index[row, run]]
                for depth in (1, 2):
                    ring.append(len(chart) + np.arange(len(run)))
                    chart = np.concatenate([chart, chart[ring[0]]])
                    flags = {k: np.concatenate([a, a[ring[0]]]) for k, a in flags.items()}
                    rim = np.concatenate([rim, np.full(len(run), depth)])
                    margin = np.concatenate([margin, ring[0]])
                    slit = np.concatenate([slit, np.full(len(run), kind, np.int8)])
                strip = np.stack(ring[::-1] if below else ring)
                triangles = np.concatenate([triangles, _quads(strip)])
    return Grid(
        chart.astype(np.float32), flags["lower"].astype(np.float32), flags["under_eye"].astype(np.float32),
        rim.astype(np.float32), slit, margin.astype(np.int32), triangles.astype(np.int32),
    )  # fmt: skip


def _quads(index: np.ndarray) -> np.ndarray:
    """Triangles of a block of vertex indices, rows downwards, columns towards the person's left."""
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    both = np.stack([np.stack([a, c, d], -1), np.stack([a, d, b], -1)], -2).reshape(-1, 3)
    distinct = (both[:, 0] != both[:, 1]) & (both[:, 1] != both[:, 2]) & (both[:, 0] != both[:, 2])
    return both[distinct]


def _runs(parted: np.ndarray) -> list[np.ndarray]:
    """Each connected run of parted columns with one shared column at either end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], parted.astype(int), [0]])))
    return [np.arange(a - 1, b + 1) for a, b in zip(edges[::2], edges[1::2])]


def loft(chart: np.ndarray) -> np.ndarray:
    """The bare skull surface: chart [n, 2] -> positions float64 [n, 3]."""
    u, v = chart[:, 0].astype(float), chart[:, 1].astype(float)
    front = np.abs(u) < 5.6
    turn = np.arcsin(5.6 / _HALF_WIDTH)
    angle = np.where(
        front, np.arcsin(np.clip(np.abs(u), 0, 5.6) / _HALF_WIDTH), turn + (np.abs(u) - 5.6) / _HALF_WIDTH
    )
    angle = np.minimum(angle, np.pi)
    ring = _hermite(_RINGS, v)
    fy, fz, sx, sy, sz, by, bz, fullness = ring[:, 1:].T
    cos, sin = np.cos(angle), np.sin(angle)
    ahead = cos > 0
    weight = np.abs(cos) ** np.where(ahead, 3.0, 1.5)
    y = sy + np.where(ahead, fy - sy, by - sy) * weight
    z = sz + np.where(ahead, (fz - sz) * np.abs(cos) ** fullness, (bz - sz) * np.abs(cos) ** 0.8)
    return np.stack([np.sign(u) * sx * sin, y, z], axis=1)


def _hermite(table: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Smooth interpolation (finite-difference cubic) of rows whose first column descends -> [n, columns]."""
    t = table[:, 0]
    slope = np.gradient(table, t, axis=0)
    at = np.clip(at, t[-1], t[0])
    k = np.clip(np.searchsorted(-t, -at, side="right") - 1, 0, len(t) - 2)
    h = (t[k + 1] - t[k])[:, None]
    s = (at - t[k])[:, None] / h
    return (
        (1 + 2 * s) * (1 - s) ** 2 * table[k] + s * (1 - s) ** 2 * h * slope[k]
        + s * s * (3 - 2 * s) * table[k + 1] + s * s * (s - 1) * h * slope[k + 1]
    )  # fmt: skip
