"""Bodies of the built-in head: what of a person's head stays the same from picture to picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mien.faces.head_features import identity_modes, neutral
from mien.faces.head_hair import hair_piece, shows_ears
from mien.faces.head_inside import Piece, ear, pieces
from mien.faces.head_lids import Lids
from mien.faces.head_mouth import Mouth
from mien.faces.head_surface import EYE_CENTRE, Grid
from mien.faces.rig import PARTS

_EAR_ROOT = (8.8, 1.6)
_UPPER, _LOWER, _TONGUE = (PARTS.index(part) for part in ("teeth_upper", "teeth_lower", "tongue"))


@dataclass(frozen=True)
class Mesh:
    """What all people with one hair style share; arrays as in `mien.faces.rig.Surface`.

    Attributes:
        triangles: int32 [t, 3].
        part: uint8 [t].
        chart: float32 [v, 2].
        rim: float32 [v].
        jaw: float32 [m], how far the `fixed` vertices of a body follow the jaw.
        teeth: which of them are the upper teeth, and the lower ones with the tongue, int [k] each.
    """

    triangles: np.ndarray
    part: np.ndarray
    chart: np.ndarray
    rim: np.ndarray
    jaw: np.ndarray
    teeth: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Body:
    """One person before any action.

    Attributes:
        skin: float32 [n, 3], lids and lips closed.
        fixed: float32 [m, 3]: eyeballs, teeth, tongue, ears, hair.
        eyes: float32 [2, 3], centres of the left and right eyeball.
        mesh: the triangles and what goes with them.
    """

    skin: np.ndarray
    fixed: np.ndarray
    eyes: np.ndarray
    mesh: Mesh


class Bodies:
    """Makes bodies over `grid` and keeps the latest."""

    def __init__(self, grid: Grid, lids: Lids, mouth: Mouth) -> None:
        self.grid, self.lids, self.mouth = grid, lids, mouth
        self.base = neutral(grid).astype(np.float32)
        self._modes = identity_modes(grid, self.base)
        self._inside = pieces()
        self._roots = [
            int(np.argmin(np.hypot(grid.chart[:, 0] - side * _EAR_ROOT[0], grid.chart[:, 1] - _EAR_ROOT[1])))
            for side in (1, -1)
        ]
        self._meshes: dict[str, Mesh] = {}
        self.of = lru_cache(maxsize=256)(self._build)

    def _build(self, shape: bytes, hair_style: str) -> Body:
        """The body with the float32 identity coefficients `shape` and hair of `hair_style`."""
        coefficients = np.frombuffer(shape, np.float32)[: len(self._modes)]
        moved = np.tensordot(coefficients, self._modes, 1)
        skin = (self.base + moved).astype(np.float32)
        eyes = np.stack(
            [EYE_CENTRE * [side, 1, 1] + moved[m].mean(axis=0) for side, m in zip((1, -1), self.lids.margins)]
        ).astype(np.float32)
        mouth = moved[self.mouth.upper].mean(axis=0)
        placed = [(p, at) for p, at in zip(self._inside, (*eyes, mouth, mouth, mouth))]
        if shows_ears(hair_style):
            placed += [(ear(side), skin[root]) for side, root in zip((1, -1), self._roots)]
        hair = hair_piece(hair_style, self.grid, skin)
        if hair:
            placed.append((hair, np.zeros(3)))
        if hair_style not in self._meshes:
            self._meshes[hair_style] = self._mesh([piece for piece, _ in placed])
        fixed = np.concatenate([piece.vertices + at for piece, at in placed]).astype(np.float32)
        return Body(skin, fixed, eyes, self._meshes[hair_style])

    def _mesh(self, fixed: Sequence[Piece]) -> Mesh:
        grid = self.grid
        parts = [self.mouth.hollow_piece(), *fixed]
        starts = np.cumsum([len(grid.chart), *(len(p.vertices) for p in parts)])
        kinds = [np.full(len(grid.triangles), PARTS.index("skin"))]
        kinds += [np.full(len(p.triangles), p.part) for p in parts]
        kind = np.concatenate([np.full(len(p.jaw), p.part) for p in fixed])
        rim = np.zeros(starts[-1], np.float32)
        rim[: len(grid.rim)] = np.minimum(grid.rim, 1.0)
        return Mesh(
            triangles=np.concatenate(
                [grid.triangles, *(p.triangles + s for p, s in zip(parts, starts))], dtype=np.int32
            ),
            part=np.concatenate(kinds).astype(np.uint8),
            chart=np.concatenate([grid.chart, *(p.chart for p in parts)]).astype(np.float32),
            rim=rim,
            jaw=np.concatenate([p.jaw for p in fixed]),
            teeth=(np.flatnonzero(kind == _UPPER), np.flatnonzero((kind == _LOWER) | (kind == _TONGUE))),
        )
