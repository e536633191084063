"""ICT-FaceKit's head as a rig: who from its identity modes, what from its blendshapes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from mien.faces.actions import Actions
from mien.faces.fields import sides
from mien.faces.head_hair import hair_piece
from mien.faces.head_inside import Piece, eyeball
from mien.faces.head_surface import EYE_RADIUS, MOUTH_CORNER, MOUTH_LINE, Grid
from mien.faces.ict_actions import blend
from mien.faces.ict_files import EXPRESSIONS, RANGES, VERTICES, IctModel, read_model
from mien.faces.person import Person, sample_person
from mien.faces.rig import PARTS, Rig, Surface, open_rig

_LANDMARKS = np.array([
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443,
    268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147, 4269,
    3360, 1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732,
    5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841, 5702, 5711, 5533, 6216, 6207, 6470,
    5517, 5966,
])  # fmt: skip
"""Vertices of the 68 Multi-PIE landmarks."""

_BEHIND_LIPS = 8.0
"""Depth z between the lips and the deeper mouth of the mean head, cm."""

_TOOTH = (0.4, 0.5)
"""Chart place of the middle of a tooth: the model has single teeth, so no gaps are to be painted."""


def open_ict(path: Path) -> Rig:
    """Open the model from its folder FaceXModel or from an npz packed of it.

    Raises:
        DataError: nothing is there, or it is not the model or damaged.
    """
    return IctRig(read_model(path))


@dataclass(frozen=True)
class _Body:
    """One person at rest: mesh [VERTICES, 3], eye centres [2, 3], and the hair if there is any."""

    mesh: np.ndarray
    eyes: np.ndarray
    hair: Piece | None


class IctRig:
    """The head of an `IctModel`; see `mien.faces.rig.Rig`."""

    name = "ict"

    def __init__(self, model: IctModel) -> None:
        self._model = model
        self._order, self._shapes = _sided(model)
        self._modes = model.identity.reshape(len(model.identity), -1)
        spheres = [_sphere(model.vertices[slice(*RANGES[eye])]) for eye in ("eye_left", "eye_right")]
        self._centres = np.stack([centre for centre, _ in spheres])
        self._radius = float(np.mean([radius for _, radius in spheres]))
        self._chart = fit_chart(model.vertices)
        self._rim = np.zeros(VERTICES, np.float32)
        self._rim[slice(RANGES["mouth_socket"][0], RANGES["eye_sockets"][1])] = 1
        self._triangles, self._part = _parts(model, self._shapes[self._order["jawOpen"]].reshape(-1, 3))
        self._chart[slice(*RANGES["teeth"])] = _TOOTH
        self._body = lru_cache(maxsize=64)(self._build_body)

    def surface(self, person: Person, actions: Actions, gaze: tuple[float, float] = (0.0, 0.0)) -> Surface:
        """The head of `person` while it shows `actions`, eyes turned by `gaze` (yaw, pitch; degrees)."""
        body = self._body(person.shape.tobytes(), person.hair_style)
        weights = np.zeros(len(self._order), np.float32)
        for name, weight in blend(actions, gaze).items():
            weights[self._order[name]] = weight
        used = np.flatnonzero(weights)
        mesh = body.mesh + (weights[used] @ self._shapes[used]).reshape(-1, 3)
        balls = [eyeball(side) for side in (1, -1)]
        scaled = [
            ball.vertices * (self._radius / EYE_RADIUS) + centre for ball, centre in zip(balls, body.eyes)
        ]
        pieces = [*balls, *([body.hair] if body.hair else [])]
        starts = np.cumsum([len(mesh), *(len(piece.vertices) for piece in pieces)])
        return Surface(
            vertices=np.concatenate([mesh, *scaled, *(p.vertices for p in pieces[2:])]).astype(np.float32),
            triangles=np.concatenate([self._triangles, *(p.triangles + s for p, s in zip(pieces, starts))]),
            part=np.concatenate([self._part, *(np.full(len(p.triangles), p.part, np.uint8) for p in pieces)]),
            chart=np.concatenate([self._chart, *(p.chart for p in pieces)]),
            rim=np.concatenate([self._rim, np.zeros(starts[-1] - len(mesh), np.float32)]),
            landmarks=mesh[_LANDMARKS].astype(np.float32),
            resting=body.mesh[_LANDMARKS].astype(np.float32),
            eyes=body.eyes,
            eye_radius=self._radius,
        )

    def _build_body(self, shape: bytes, hair_style: str) -> _Body:
        coefficients = np.frombuffer(shape, np.float32)[: len(self._modes)]
        moved = (coefficients @ self._modes[: len(coefficients)]).reshape(-1, 3)
        shift = [moved[slice(*RANGES[eye])].mean(axis=0) for eye in ("eye_left", "eye_right")]
        mesh = self._sealed(self._model.vertices + moved).astype(np.float32)
        return _Body(mesh, (self._centres + np.stack(shift)).astype(np.float32), self._hair(mesh, hair_style))

    def _sealed(self, mesh: np.ndarray) -> np.ndarray:
        """A head at rest [VERTICES, 3] without the gap that identity modes open between its lips."""
        upper, lower = _LANDMARKS[[61, 62, 63]], _LANDMARKS[[67, 66, 65]]
        u, v = self._chart.T
        along = np.exp(-0.5 * ((v - MOUTH_LINE) / 0.8) ** 2) * (self._model.vertices[:, 2] > _BEHIND_LIPS)
        # What follows the jaw is below the gap, what does not is above it.
        drop = -self._shapes[self._order["jawOpen"]].reshape(-1, 3)[:, 1]
        share = np.clip(drop / drop[lower].max(), 0, 1)
        shut = along * (share - 0.5)
        gap = np.maximum(0, mesh[upper, 1] - mesh[lower, 1]) / (shut[lower] - shut[upper])
        across = np.interp(u, [-MOUTH_CORNER, -1, 0, 1, MOUTH_CORNER], [0, *gap, 0])
        sealed = mesh.copy()
        sealed[:, 1] += across * shut
        return sealed

    def _hair(self, mesh: np.ndarray, style: str) -> Piece | None:
        start, end = RANGES["skin"]
        zero = np.zeros(end - start, np.float32)
        skin = self._triangles[(self._triangles < end).all(axis=1)]
        grid = Grid(
            self._chart[start:end],
            zero,
            zero,
            zero,
            zero.astype(np.int8),
            np.arange(end, dtype=np.int32),
            skin,
        )
        return hair_piece(style, grid, mesh[start:end].astype(np.float64))


def fit_chart(vertices: np.ndarray) -> np.ndarray:
    """Chart float32 [v, 2] of the mean head, read off the average built-in head after a warp onto it."""
    average = replace(sample_person(0), shape=np.zeros_like(sample_person(0).shape), hair_style="bald")
    target = open_rig("builtin").surface(average, Actions(), (0.0, 0.0))
    skin = np.unique(target.triangles[target.part == PARTS.index("skin")])
    skin = skin[target.rim[skin] == 0]
    source = vertices[_LANDMARKS].astype(np.float64)
    # Landmarks that fall together (lips that touch) would make the warp singular: smooth a little.
    warp = RBFInterpolator(source, target.landmarks.astype(np.float64), kernel="linear", smoothing=1e-3)
    distance, index = cKDTree(target.vertices[skin]).query(warp(vertices.astype(np.float64)), k=4)
    places = target.chart[skin][index]
    weight = 1 / (distance + 1e-2) ** 2
    chart = (places * weight[..., None]).sum(axis=1) / weight.sum(axis=1)[:, None]
    # u jumps at the back of the head: no mean across the seam.
    seam = np.ptp(places[..., 0], axis=1) > 6
    chart[seam] = places[seam, 0]
    return chart.astype(np.float32)


def _sided(model: IctModel) -> tuple[dict[str, int], np.ndarray]:
    """Shapes by name and as rows [k, VERTICES * 3]; those of the whole mouth parted into two halves."""
    halves = sides(model.vertices[:, 0].astype(np.float64))
    names: list[str] = []
    rows: list[np.ndarray] = []
    for name, shape in zip(EXPRESSIONS, model.expressions):
        if name.startswith("mouth") and not name.endswith(("_L", "_R")):
            names += [f"{name}_L", f"{name}_R"]
            rows += [(shape * half[:, None]).astype(np.float32).ravel() for half in halves]
        else:
            names.append(name)
            rows.append(shape.ravel())
    return {name: index for index, name in enumerate(names)}, np.stack(rows)


def _sphere(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Least-squares centre and radius of the back of an eyeball (its front bulges)."""
    back = points[points[:, 2] < np.median(points[:, 2])].astype(np.float64)
    system = np.concatenate([2 * back, np.ones((len(back), 1))], axis=1)
    x, y, z, rest = np.linalg.lstsq(system, (back**2).sum(axis=1), rcond=None)[0]
    return np.array([x, y, z]), float(np.sqrt(rest + x * x + y * y + z * z))


def _parts(model: IctModel, jaw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles without those of the eyeballs, int32 [t, 3], and their parts, uint8 [t]."""
    of_vertex = np.full(VERTICES, PARTS.index("skin"), np.uint8)
    for name, part in (("mouth_socket", "cavity"), ("eye_sockets", "cavity"), ("gums_tongue", "tongue")):
        of_vertex[slice(*RANGES[name])] = PARTS.index(part)
    start, end = RANGES["teeth"]
    lower = np.linalg.norm(jaw[start:end], axis=1) > 0.5
    of_vertex[start:end] = np.where(lower, PARTS.index("teeth_lower"), PARTS.index("teeth_upper"))
    triangles = model.triangles[(model.triangles < RANGES["eye_left"][0]).all(axis=1)]
    # A triangle of two parts belongs to the one that lies outside.
    return triangles, of_vertex[triangles].min(axis=1)
