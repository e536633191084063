"""The built-in head: linear shapes for who and for what, then lids laid over the eyes and lips kept apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mien.faces import head_actions, head_features, head_inside
from mien.faces.actions import Actions
from mien.faces.head_hair import hair_piece, shows_ears
from mien.faces.head_mouth import Mouth
from mien.faces.head_surface import EYE_CENTRE, EYE_RADIUS, build_grid
from mien.faces.person import Person
from mien.faces.rig import PARTS, Surface


@dataclass(frozen=True)
class _Body:
    """One person at rest: skin [n, 3], fixed parts [m, 3] with their jaw weights, eye centres [2, 3]."""

    skin: np.ndarray
    fixed: np.ndarray
    fixed_jaw: np.ndarray
    eyes: np.ndarray
    balls: tuple[np.ndarray, np.ndarray]
    triangles: np.ndarray
    part: np.ndarray
    chart: np.ndarray
    rim: np.ndarray


class BuiltinRig:
    """The head that is always there; see `mien.faces.rig.Rig`. About 8500 skin vertices and 6000 others."""

    name = "builtin"

    def __init__(self) -> None:
        self.grid = build_grid()
        self.base = head_features.neutral(self.grid).astype(np.float32)
        self.modes = head_features.identity_modes(self.grid, self.base)
        names, shapes = head_actions.action_shapes(self.grid, self.base)
        self._order = {name: i for i, name in enumerate(names)}
        self._shapes = shapes.reshape(len(names), -1)
        self._pieces = head_inside.pieces()
        self._landmarks = head_features.landmark_vertices(self.grid)
        self._setup_eyes()
        self._mouth = Mouth(self.grid)
        self._body = lru_cache(maxsize=128)(self._build_body)

    def surface(self, person: Person, actions: Actions, gaze: tuple[float, float] = (0.0, 0.0)) -> Surface:
        """The head of `person` while it shows `actions`, eyes turned by `gaze` (yaw, pitch; degrees)."""
        body = self._body(person.shape.tobytes(), person.hair_style)
        weights = head_actions.shape_weights(actions, gaze[1])
        skin = self._posed(body, weights)
        fixed = body.fixed + head_actions.jaw_drop(
            body.fixed, body.fixed_jaw, head_actions.JAW_OPEN * weights.get("27", 0.0)
        )
        vertices = np.concatenate([skin, self._mouth.hollow(skin), *body.balls, fixed]).astype(np.float32)
        return Surface(
            vertices=vertices,
            triangles=body.triangles,
            part=body.part,
            chart=body.chart,
            rim=body.rim,
            landmarks=vertices[self._landmarks],
            resting=self._resting(person.shape.tobytes(), person.hair_style),
            eyes=body.eyes,
            eye_radius=EYE_RADIUS,
        )

    def _posed(self, body: _Body, weights: dict[str, float]) -> np.ndarray:
        vector = np.zeros(len(self._order), np.float32)
        for name, value in weights.items():
            vector[self._order[name]] = value
        skin = body.skin + (vector @ self._shapes).reshape(-1, 3)
        self._mouth.keep_apart(skin)
        skin[self._lids] = head_features.cover_eyes(skin[self._lids], body.eyes)
        self._mouth.hang_rims(skin)
        self._hang_lids(skin, body.eyes)
        return skin

    @lru_cache(maxsize=512)  # noqa: B019 - the rig itself lives as long as the process
    def _resting(self, shape: bytes, hair_style: str) -> np.ndarray:
        body = self._body(shape, hair_style)
        return self._posed(body, head_actions.shape_weights(Actions()))[self._landmarks]

    def _setup_eyes(self) -> None:
        u, v = np.abs(self.grid.chart[:, 0]), self.grid.chart[:, 1]
        skin = self.grid.rim == 0
        self._lids = np.flatnonzero(skin & (u > 0.8) & (u < 5.8) & (v > 1.4) & (v < 6.2))
        self._eye_rims = [
            np.flatnonzero((self.grid.slit == 1) & (self.grid.chart[:, 0] * side > 0)) for side in (1, -1)
        ]
        self._eye_margins = [np.unique(self.grid.margin[rim]) for rim in self._eye_rims]

    def _hang_lids(self, skin: np.ndarray, eyes: np.ndarray) -> None:
        for rim, centre in zip(self._eye_rims, eyes):
            edge = skin[self.grid.margin[rim]]
            outward = edge - centre
            far = np.linalg.norm(outward, axis=1, keepdims=True)
            # The second row ends inside the eyeball, so that no gap opens between lid and eye.
            near = np.where(self.grid.rim[rim, None] == 1, far - 0.14, 0.9 * EYE_RADIUS)
            skin[rim] = centre + outward * (near / far)

    def _build_body(self, shape: bytes, hair_style: str) -> _Body:
        coefficients = np.frombuffer(shape, np.float32)[: len(self.modes)]
        moved = np.tensordot(coefficients, self.modes, 1)
        skin = self.base + moved
        eyes = np.stack(
            [EYE_CENTRE * [s, 1, 1] + moved[m].mean(axis=0) for s, m in zip((1, -1), self._eye_margins)]
        ).astype(np.float32)
        mouth = moved[self._mouth.upper].mean(axis=0)
        root = int(np.argmin(np.hypot(self.grid.chart[:, 0] - 9.2, self.grid.chart[:, 1] - 1.6)))
        other = int(np.argmin(np.hypot(self.grid.chart[:, 0] + 9.2, self.grid.chart[:, 1] - 1.6)))
        balls = [p.vertices + c for p, c in zip(self._pieces[:2], eyes)]
        inner = self._pieces[2:]
        ears = [head_inside.ear(1), head_inside.ear(-1)] if shows_ears(hair_style) else []
        hair = hair_piece(hair_style, self.grid, skin)
        all_pieces = [self._mouth.hollow_piece(), *self._pieces[:2], *inner, *ears, *([hair] if hair else [])]
        fixed = [p.vertices + mouth for p in inner]
        fixed += [p.vertices + skin[r] for p, r in zip(ears, (root, other))]
        fixed += [hair.vertices] if hair else []
        starts = np.cumsum([len(skin), *(len(p.vertices) for p in all_pieces)])
        return _Body(
            skin=skin.astype(np.float32),
            fixed=np.concatenate(fixed).astype(np.float32),
            fixed_jaw=np.concatenate([p.jaw for p in all_pieces[3:]]),
            eyes=eyes,
            balls=(balls[0], balls[1]),
            triangles=np.concatenate(
                [self.grid.triangles, *(p.triangles + s for p, s in zip(all_pieces, starts))]
            ).astype(np.int32),
            part=np.concatenate(
                [
                    np.full(len(self.grid.triangles), PARTS.index("skin")),
                    *(np.full(len(p.triangles), p.part) for p in all_pieces),
                ]
            ).astype(np.uint8),
            chart=np.concatenate([self.grid.chart, *(p.chart for p in all_pieces)]).astype(np.float32),
            rim=np.concatenate([np.minimum(self.grid.rim, 1.0), np.zeros(starts[-1] - len(skin))]).astype(
                np.float32
            ),
        )
