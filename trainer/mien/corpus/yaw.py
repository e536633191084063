"""Yaw of a face from its five points and its picture, fitted on rendered heads by `mien.corpus.yaw_fit`.

Points alone say little beyond 40 degrees, where a detector draws them together; there the gradients of the
picture decide.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from mien.corpus.measure import averaged, yaw_of

SIDE, CELL, ORIENTATIONS = 64, 16, 8
"""Pixels of the view and of a HOG cell; directions of a cell."""

WIDE = 2.8
"""Side of the view, in distances from the eyes to the mouth."""

FILE = "yaw.json"
"""The fit, packaged."""

_NEAR, _FAR = 35.0, 45.0
_LIMIT = 90.0


def face_yaw(picture: np.ndarray, points: np.ndarray) -> float:
    """Yaw in degrees, [-90, 90]; > 0 turns the face to the person's own left.

    By the points alone where points and picture tell less than 35 degrees; where either tells more than 45 by
    the larger one, since each is blind to some profiles.

    Args:
        picture: uint8 [h, w, 3] that holds the face.
        points: five landmarks [5, 2] in its pixels, as of `mien.corpus.detect`.
    """
    seen, looked = yaw_of(points), float(features(picture, points) @ _weights())
    larger = max(seen, looked, key=abs)
    share = float(np.clip((abs(larger) - _NEAR) / (_FAR - _NEAR), 0, 1))
    return float(np.clip(seen + share * (larger - seen), -_LIMIT, _LIMIT))


def features(picture: np.ndarray, points: np.ndarray) -> npt.NDArray[np.float64]:
    """HOG (Dalal and Triggs 2005) of the upright head and its points across, float64 [293]."""
    from skimage.feature import hog

    move, across = _upright(points.astype(np.float64))
    view = averaged(picture, move, SIDE).astype(np.float32).mean(2) / 255
    return np.concatenate(
        [hog(view, orientations=ORIENTATIONS, pixels_per_cell=(CELL, CELL), cells_per_block=(2, 2)), across]
    )


def mirrored(picture: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mirror image of a picture, and of its points in their order."""
    turned = points[[1, 0, 2, 4, 3]] * [-1, 1] + [picture.shape[1] - 1, 0]
    return np.ascontiguousarray(picture[:, ::-1]), turned


def _upright(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The map of the view, float64 [2, 3], and how far right of the middle line the points are, float64 [5].

    The eyes and the mouth define the view, not their width, which yaw changes.
    """
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    length = max(float(np.linalg.norm(mouth - eyes)), 1e-3)
    down = (mouth - eyes) / length
    axes = np.array([[down[1], -down[0]], down])
    turn = axes * SIDE / (WIDE * length)
    middle = eyes + 0.45 * (mouth - eyes)
    shift = (SIDE - 1) / 2 - turn @ middle
    return np.hstack([turn, shift[:, None]]), (points - eyes) @ axes[0] / length


@cache
def _weights() -> npt.NDArray[np.float64]:
    source = resources.files("mien.corpus").joinpath(FILE).read_text(encoding="utf-8")
    return np.array(json.loads(source)["weights"])
