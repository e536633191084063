"""What people wear in the face: glasses, a surgical mask, a lock of hair."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from mien.faces import light as sh
from mien.faces.camera import PIVOT
from mien.faces.fields import step
from mien.faces.fragments import Fragments, vertex_normals
from mien.faces.layer import Layer, reflect
from mien.faces.raster import rasterise
from mien.faces.rig import Surface
from mien.faces.scene import Scene

_FRAMES = np.array(
    [[0.02, 0.02, 0.02], [0.09, 0.045, 0.02], [0.35, 0.33, 0.30], [0.25, 0.03, 0.04]], np.float32
)
_MASKS = np.array([[0.35, 0.55, 0.68], [0.80, 0.80, 0.79], [0.03, 0.03, 0.035]], np.float32)


def glasses(scene: Scene, surface: Surface, seen: Fragments, rng: np.random.Generator) -> Layer:
    """Spectacles of a random cut and colour; one pair in seven is dark."""
    colour = _FRAMES[rng.integers(len(_FRAMES))]
    wide, high = rng.uniform(2.25, 2.6), rng.uniform(1.6, 2.1)
    square = rng.uniform(2.0, 4.0)
    dark = bool(rng.random() < 0.14)
    width = float(rng.uniform(0.14, 0.34))
    sides = np.sign(surface.eyes[:, 0])
    turn = np.linspace(0, 2 * np.pi, 49)
    ring = np.stack(
        [_power(np.cos(turn), 2 / square) * wide, _power(np.sin(turn), 2 / square) * high], axis=1
    )
    rims, lines = [], []
    for eye, side in zip(surface.eyes, sides):
        # The lenses follow the curve of the face: their outer edges lie further back.
        depth = eye[2] + 2.35 - 0.12 * side * ring[:, 0]
        rim = np.stack([eye[0] + 0.1 * side + ring[:, 0], eye[1] - 0.25 + ring[:, 1], depth], axis=1)
        rims.append(rim)
        hinge = rim[np.argmax(side * rim[:, 0])] + [0.15 * side, 0.4, -0.1]
        temple = np.abs(surface.resting[[0, 16], 0]).max() + 0.35
        ear = np.array([side * temple, eye[1] + 0.3, 0.0])
        lines.append(hinge + (ear - hinge) * np.linspace(0, 1, 25)[:, None])
    inner = [rim[np.argmin(side * rim[:, 0])] for rim, side in zip(rims, sides)]
    t = np.linspace(0, 1, 9)[:, None]
    lines.append(inner[0] + (inner[1] - inner[0]) * t + np.array([0, 0.35, 0.35]) * np.sin(np.pi * t))
    frame = _draw_lines(seen, rims + lines, width) > 0
    lens = _fill(seen, rims)
    return _spectacles(scene, frame, lens & ~frame, colour, dark)


def _spectacles(scene: Scene, frame: np.ndarray, lens: np.ndarray, colour: np.ndarray, dark: bool) -> Layer:
    front = sh.irradiance(scene.light, np.array([[0.0, 0.25, 0.968]], np.float32))[0]
    rows = np.linspace(1, 0, len(frame), dtype=np.float32)[:, None]
    alpha = np.where(frame, 1.0, np.where(lens, 0.93 if dark else 0.10, 0.0)).astype(np.float32)
    sheen = front * (0.035 if dark else 0.6)
    glass = sheen * (0.4 + rows[..., None]) * np.ones((1, frame.shape[1], 1), np.float32)
    radiance = np.where(frame[..., None], colour * front + 0.015, glass).astype(np.float32)
    return Layer(alpha, radiance, frame | lens if dark else frame)


def _power(x: np.ndarray, exponent: float) -> np.ndarray:
    return np.sign(x) * np.abs(x) ** exponent


def _draw_lines(seen: Fragments, lines: list[np.ndarray], width: float) -> np.ndarray:
    """Lines through points of the head frame, `width` cm thick, where the head does not hide them; uint8."""
    canvas = Image.new("L", (seen.side, seen.side))
    pen = ImageDraw.Draw(canvas)
    thick = max(1, round(width * seen.density))
    for line in lines:
        points, depth = seen.place(line)
        middle = (points[1:] + points[:-1]) / 2
        column, row = np.clip(middle, 0, seen.side - 1).astype(int).T
        near = seen.frame.distance - (depth[1:] + depth[:-1]) / 2 > seen.height[row, column] - 0.5
        for start, end, shown in zip(points[:-1].tolist(), points[1:].tolist(), near):
            if shown:
                pen.line([*start, *end], fill=255, width=thick)
    return np.array(canvas)


def _fill(seen: Fragments, outlines: list[np.ndarray]) -> np.ndarray:
    canvas = Image.new("1", (seen.side, seen.side))
    pen = ImageDraw.Draw(canvas)
    for outline in outlines:
        pen.polygon([tuple(point) for point in seen.place(outline)[0].tolist()], fill=1)
    return np.array(canvas)


def mask(scene: Scene, surface: Surface, seen: Fragments, rng: np.random.Generator) -> Layer:
    """A pleated surgical mask from the bridge of the nose to below the chin, with its bands."""
    colour = _MASKS[rng.integers(len(_MASKS))]
    patch, across, down = _mask_patch(surface)
    points, depth = seen.place(patch.reshape(-1, 3))
    index = np.arange(patch.shape[0] * patch.shape[1]).reshape(patch.shape[:2])
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.stack([np.stack([a, c, d], -1), np.stack([a, d, b], -1)], -2).reshape(-1, 3)
    hit = rasterise(points, depth, triangles, seen.side, seen.side)
    height = seen.height.ravel()[hit.pixel]
    shown = seen.frame.distance - hit.depth > height - 0.9
    posed = (patch.reshape(-1, 3) - PIVOT) @ seen.turn.T
    values = np.concatenate(
        [vertex_normals(posed, triangles), across.reshape(-1, 1), down.reshape(-1, 1)], axis=1
    )
    inside = hit.interpolate(values.astype(np.float32), triangles)[shown]
    normal, fold = inside[:, :3], inside[:, 4]
    pleat = 0.5 + 0.5 * np.cos(fold * 2 * np.pi * 5)
    middle = step(fold, 0.12, 0.3) * step(fold, 0.92, 0.75)
    normal[:, 1] += 0.5 * np.sin(fold * 2 * np.pi * 5) * middle
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    tint = colour * (1 - 0.22 * middle * pleat**3)[:, None]
    edge = (fold < 0.03) | (fold > 0.97) | (np.abs(inside[:, 3]) > 0.97)
    tint = np.where(edge[:, None], tint * 0.8, tint)
    radiance = np.zeros((seen.side * seen.side, 3), np.float32)
    alpha = np.zeros(seen.side * seen.side, np.float32)
    radiance[hit.pixel[shown]] = reflect(scene.light, normal, tint, 0.0)
    alpha[hit.pixel[shown]] = 1
    bands = _draw_lines(seen, _bands(patch, surface), 0.22).ravel() > 0
    radiance[bands & (alpha == 0)] = 0.9 * sh.irradiance(scene.light, np.array([[0, 0, 1.0]]))[0] * colour
    solid = alpha > 0
    alpha[bands] = 1
    shape = (seen.side, seen.side)
    return Layer(alpha.reshape(shape), radiance.reshape(*shape, 3), solid.reshape(shape))


def _mask_patch(surface: Surface) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mask as a grid in the head frame [rows, columns, 3], its places across [-1, 1] and down [0, 1]."""
    mark = surface.landmarks
    tip, bridge, chin = mark[30], mark[28], mark[8]
    s = np.linspace(-1, 1, 41)
    a = np.abs(s)

    def curve(middle: np.ndarray, half: np.ndarray, side: np.ndarray) -> np.ndarray:
        """Through the middle, a point half-way and the edge (of the person's left; mirrored on the right)."""
        knots = np.stack([middle, half, side])
        x = np.interp(a, [0, 0.5, 1], np.abs(knots[:, 0])) * np.sign(s)
        smooth = np.stack([(1 - 2 * a) * (1 - a), 4 * a * (1 - a), a * (2 * a - 1)])
        return np.stack([x, knots[:, 1] @ smooth, knots[:, 2] @ smooth], axis=1)

    cheek = np.abs((mark[2] - mark[14])[0]) / 2
    left, low = mark[14], mark[12]
    top = curve(bridge + np.array([0, 0, 0.45]), np.array([3.2, bridge[1] - 1.5, bridge[2] - 1.6]),
                np.array([cheek * 0.97, left[1] + 0.8, left[2] + 1.4]))  # fmt: skip
    middle = curve(tip + np.array([0, -1.2, 0.9]), np.array([3.9, mark[48][1] + 0.6, mark[54][2] + 0.9]),
                   np.array([cheek * 0.98, left[1] - 1.6, left[2] + 1.3]))  # fmt: skip
    bottom = curve(chin + np.array([0, -0.7, 0.5]), np.array([3.6, chin[1] - 0.1, chin[2] - 1.8]),
                   np.array([np.abs(low[0]) + 0.35, low[1] - 0.3, low[2] + 0.6]))  # fmt: skip
    t = np.linspace(0, 1, 31)[:, None, None]
    knot = 0.42
    weights = (
        (t - knot) * (t - 1) / knot,
        t * (t - 1) / (knot * (knot - 1)),
        t * (t - knot) / (1 - knot),
    )
    patch = weights[0] * top + weights[1] * middle + weights[2] * bottom
    across = np.broadcast_to(s, patch.shape[:2])
    return patch.astype(np.float32), across, np.broadcast_to(t[..., 0], patch.shape[:2])


def _bands(patch: np.ndarray, surface: Surface) -> list[np.ndarray]:
    lines = []
    for column, ear in ((0, 0), (-1, 16)):
        target = surface.resting[ear] + [0.4 * np.sign(surface.resting[ear][0]), 0.8, -2.0]
        for row in (1, -2):
            start = patch[row, column]
            lines.append(start + (target - start) * np.linspace(0, 1, 15)[:, None])
    return lines


def lock(scene: Scene, surface: Surface, seen: Fragments, side: int, rng: np.random.Generator) -> Layer:
    """A lock of hair that falls from the hair line over an eye of the person's `side` down to the cheek."""
    start = surface.resting[27] + np.array([side * rng.uniform(-0.5, 2.0), 8.2, -1.2])
    over = surface.eyes[(1 - side) // 2] + np.array([side * rng.uniform(-0.8, 1.0), 0.3, 2.4])
    end = np.array([side * rng.uniform(5.0, 7.0), rng.uniform(-5.5, 0.0), 7.5])
    canvas = Image.new("L", (seen.side, seen.side))
    pen = ImageDraw.Draw(canvas)
    t = np.linspace(0, 1, 25)[:, None]
    spread = rng.uniform(0.7, 1.5)
    for _ in range(70):
        shift = rng.normal(0, spread, 3) * [1, 0.3, 0.15]
        pull = rng.uniform(0.75, 1.05)
        strand = (1 - t) ** 2 * (start + 0.6 * shift) + t**2 * (over + (end - over) * pull + 1.2 * shift)
        strand += 2 * t * (1 - t) * (1.7 * over - 0.35 * (start + end) + shift)
        points = [tuple(point) for point in seen.place(strand)[0].tolist()]
        thick = max(1, round(rng.uniform(0.08, 0.26) * seen.density))
        pen.line(points, fill=int(rng.integers(60, 255)), width=thick, joint="curve")
    tone = np.array(canvas)
    hair = tone > 0
    bright = sh.irradiance(scene.light, np.array([[0.2 * side, 0.35, 0.91]], np.float32))[0]
    radiance = (tone.astype(np.float32) / 190)[..., None] * scene.person.hair * bright
    return Layer(hair.astype(np.float32), radiance.astype(np.float32), hair)
