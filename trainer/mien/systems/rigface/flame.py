"""FLAME's head: linear shapes, then linear blend skinning about neck, jaw and eyes (Li et al. 2017)."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from mien.faces.head_surface import EYE_CENTRE
from mien.faces.rig import PARTS, Surface
from mien.systems.rigface.flame_files import EXPRESSIONS, JOINTS, FlameArrays

_CM = 100.0
_JAW, _LEFT_EYE, _RIGHT_EYE = 2, 3, 4


class FlameModel:
    """Surfaces of FLAME in the head frame of the face world: cm, the eyes where the built-in head has them.

    The root stays upright, for the pose of the head belongs to the scene, and so do neck and eye joints: an
    eyeball is a sphere, whose colour follows the gaze.
    """

    def __init__(self, arrays: FlameArrays) -> None:
        self._arrays = arrays
        eyes = (arrays.regressor @ arrays.template)[[_LEFT_EYE, _RIGHT_EYE]].mean(axis=0)
        self._offset = np.array([0, *EYE_CENTRE[1:]], np.float32) - np.float32(_CM) * eyes
        self._balls = [arrays.weights[:, joint] > 0.5 for joint in (_LEFT_EYE, _RIGHT_EYE)]
        self._part = np.full(len(arrays.triangles), PARTS.index("skin"), np.uint8)
        for name, ball in zip(("eye_left", "eye_right"), self._balls):
            self._part[ball[arrays.triangles].all(axis=1)] = PARTS.index(name)

    def surface(self, shape: np.ndarray, expression: np.ndarray) -> Surface:
        """The head of `shape` float32 [up to 300] with `expression` float32 [53], as in `codes.SPACES`."""
        still = np.repeat(np.eye(3)[None], JOINTS, axis=0)
        turns = still.copy()
        turns[_JAW] = Rotation.from_rotvec(expression[EXPRESSIONS:]).as_matrix()
        posed, joints = skinned(self._arrays, shape, expression[:EXPRESSIONS], turns)
        rest, _ = skinned(self._arrays, shape, np.zeros(EXPRESSIONS), still)
        vertices, resting = (self._placed(points) for points in (posed, rest))
        eyes = self._placed(joints[[_LEFT_EYE, _RIGHT_EYE]])
        return Surface(
            vertices=vertices,
            triangles=self._arrays.triangles,
            part=self._part,
            chart=np.zeros((len(vertices), 2), np.float32),
            rim=np.zeros(len(vertices), np.float32),
            landmarks=self._landmarks(vertices),
            resting=self._landmarks(resting),
            eyes=eyes,
            eye_radius=self._radius(vertices, eyes),
        )

    def _placed(self, points: np.ndarray) -> np.ndarray:
        return (np.float32(_CM) * points + self._offset).astype(np.float32)

    def _landmarks(self, vertices: np.ndarray) -> np.ndarray:
        arrays = self._arrays
        corners = vertices[arrays.triangles[arrays.landmark_triangles]]
        return np.einsum("lkc,lk->lc", corners, arrays.landmark_weights).astype(np.float32)

    def _radius(self, vertices: np.ndarray, eyes: np.ndarray) -> float:
        distances = [
            np.linalg.norm(vertices[ball] - centre, axis=1) for ball, centre in zip(self._balls, eyes)
        ]
        return float(np.concatenate(distances).mean()) if any(len(d) for d in distances) else 1.2


def skinned(
    arrays: FlameArrays, shape: np.ndarray, expression: np.ndarray, turns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of a face by linear blend skinning with pose correctives.

    Args:
        arrays: the model.
        shape: float [s], s <= 300; further modes are 0.
        expression: float [50].
        turns: float [5, 3, 3], rotation of each joint against its parent; `flame_files.JOINTS` in order.

    Returns:
        Vertices float32 [v, 3] and joints before skinning float32 [5, 3], metres.
    """
    shaped = arrays.template + arrays.shapes[..., : len(shape)] @ shape + arrays.expressions @ expression
    joints = arrays.regressor @ shaped
    corrected = shaped + arrays.correctives @ (turns[1:] - np.eye(3)).ravel()
    rotation, shift = _chain(turns, joints, arrays.parents)
    moved = np.einsum("jab,vb->jva", rotation, corrected) + shift[:, None]
    return np.einsum("vj,jva->va", arrays.weights, moved).astype(np.float32), joints.astype(np.float32)


def _chain(turns: np.ndarray, joints: np.ndarray, parents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each joint does to a point at rest: x -> rotation [5, 3, 3] x + shift [5, 3]."""
    rotation, shift = turns.copy(), np.zeros((JOINTS, 3))
    for joint, parent in enumerate(parents):
        # A joint turns about where it lies at rest; then its parent moves the result.
        shift[joint] = joints[joint] - turns[joint] @ joints[joint]
        if parent >= 0:
            rotation[joint] = rotation[parent] @ turns[joint]
            shift[joint] = rotation[parent] @ shift[joint] + shift[parent]
    return rotation, shift
