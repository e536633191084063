"""The built-in head: linear shapes for who and for what, then lids laid over the eyes and lips kept apart."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mien.faces.actions import Actions
from mien.faces.head_actions import JAW_OPEN, action_shapes, jaw_drop, shape_weights
from mien.faces.head_body import Bodies, Body
from mien.faces.head_features import landmark_vertices
from mien.faces.head_lids import Lids
from mien.faces.head_mouth import Mouth
from mien.faces.head_surface import EYE_RADIUS, build_grid
from mien.faces.person import Person
from mien.faces.rig import Surface


class BuiltinRig:
    """The head that is always there; see `mien.faces.rig.Rig`. About 8500 skin vertices and 5000 others.

    Attributes:
        name: "builtin".
        grid: the skin's mesh over its chart; its vertices come first in every surface.
    """

    name = "builtin"

    def __init__(self) -> None:
        self.grid = build_grid()
        self._lids, self._mouth = Lids(self.grid), Mouth(self.grid)
        self._bodies = Bodies(self.grid, self._lids, self._mouth)
        names, shapes = action_shapes(self.grid, self._bodies.base)
        self._row = {name: i for i, name in enumerate(names)}
        self._shapes = shapes.reshape(len(names), -1)
        self._landmarks = landmark_vertices(self.grid)
        self._resting = lru_cache(maxsize=1024)(self._rest)

    def surface(self, person: Person, actions: Actions, gaze: tuple[float, float] = (0.0, 0.0)) -> Surface:
        """The head of `person` while it shows `actions`, eyes turned by `gaze` (yaw, pitch; degrees)."""
        who = (person.shape.astype(np.float32).tobytes(), person.hair_style)
        body = self._bodies.of(*who)
        weights = shape_weights(actions, gaze[1])
        skin = self._posed(body, weights)
        fixed = body.fixed + jaw_drop(body.fixed, body.mesh.jaw, JAW_OPEN * weights.get("27", 0.0))
        for lower, teeth in enumerate(body.mesh.teeth):
            fixed[teeth, 2] += self._mouth.retreat(skin, fixed[teeth], bool(lower))
        vertices = np.concatenate([skin, self._mouth.hollow(skin), fixed]).astype(np.float32)
        return Surface(
            vertices=vertices,
            triangles=body.mesh.triangles,
            part=body.mesh.part,
            chart=body.mesh.chart,
            rim=body.mesh.rim,
            landmarks=vertices[self._landmarks],
            resting=self._resting(*who),
            eyes=body.eyes,
            eye_radius=EYE_RADIUS,
        )

    def _posed(self, body: Body, weights: dict[str, float]) -> np.ndarray:
        """Skin float32 [n, 3] of `body` under the shapes' `weights`."""
        vector = np.zeros(len(self._row), np.float32)
        for name, value in weights.items():
            vector[self._row[name]] = value
        skin = body.skin + (vector @ self._shapes).reshape(-1, 3)
        self._mouth.keep_apart(skin)
        self._lids.lay(skin, body.eyes)
        self._mouth.hang_rims(skin)
        return skin

    def _rest(self, shape: bytes, hair_style: str) -> np.ndarray:
        return self._posed(self._bodies.of(shape, hair_style), shape_weights(Actions()))[self._landmarks]
