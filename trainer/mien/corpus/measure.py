"""Measures of one face: yaw by its points, sharpness, an aligned view, and vectors of face and expression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

VIEW = 64
"""Side of the aligned view, pixels."""

PLACES = ((0.3, 0.36), (0.7, 0.36), (0.5, 0.8))
"""Where the eyes and the middle of the mouth lie in the aligned view, as parts of its side."""

# Angle of the nose against the eyes as MTCNN's points show it, and the yaw that it means: medians of 14 heads
# of the face world. Its points draw together beyond 55 degrees, so larger angles are rough.
_SEEN = (0.0, 16.9, 30.6, 38.2, 47.1, 55.4, 58.5, 62.0, 64.0)
_MEANT = (0.0, 15.0, 25.0, 35.0, 45.0, 55.0, 65.0, 75.0, 85.0)
_NOSE = 1.75
_SHARP_SIDE = 112


def yaw_of(points: np.ndarray) -> float:
    """Yaw in degrees, [-85, 85], from five landmarks, float [5, 2] pixels; > 0 is the person's own left.

    The nose leaves the line from the middle of the eyes to that of the mouth with the sine of the yaw, and
    the eyes come together with its cosine. Good up to 40 degrees; `mien.corpus.yaw` looks at the picture too.
    """
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    down = (mouth - eyes) / max(float(np.linalg.norm(mouth - eyes)), 1e-9)
    right = np.array([down[1], -down[0]])
    nose, apart = float((points[2] - eyes) @ right), float((points[1] - points[0]) @ right)
    seen = np.degrees(np.arctan2(_NOSE * abs(nose), max(apart, 0.0)))
    return float(np.copysign(np.interp(seen, _SEEN, _MEANT), nose))


def sharpness(picture: np.ndarray, box: np.ndarray) -> float:
    """Variance of the Laplacian of the grey face, scaled to 112 x 112 so that sizes compare; 0 outside."""
    import cv2

    left, top, width, height = box
    face = picture[
        max(0, int(top)) : max(0, int(top + height)), max(0, int(left)) : max(0, int(left + width))
    ]
    if min(face.shape[:2]) < 2:
        return 0.0
    grey = cv2.cvtColor(np.ascontiguousarray(face), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SHARP_SIDE, _SHARP_SIDE), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(small, cv2.CV_32F).var())


def share_inside(box: np.ndarray, width: int, height: int) -> float:
    """Share of a box (left, top, width, height) that lies in a picture, in [0, 1]."""
    low = np.maximum(box[:2], 0)
    high = np.minimum(box[:2] + box[2:], [width, height])
    return float(np.prod(np.maximum(high - low, 0)) / max(float(np.prod(box[2:])), 1e-9))


def aligned(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The face with eyes and mouth at fixed places, uint8 [VIEW, VIEW, 3]."""
    import cv2

    move = move_of(points)
    return cv2.warpAffine(picture, move, (VIEW, VIEW), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)


def averaged(picture: np.ndarray, move: np.ndarray, side: int) -> np.ndarray:
    """The same map as `cv2.warpAffine`, but with pixels averaged where it shrinks; uint8 [side, side, 3].

    Args:
        picture: uint8 [h, w, 3].
        move: float64 [2, 3], a turn, scale and shift of (x, y) of the picture to those of the view.
        side: of the view, pixels.
    """
    import cv2

    back = cv2.invertAffineTransform(move)
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]]) @ back[:, :2].T + back[:, 2]
    x0, y0 = np.clip(np.floor(corners.min(0)).astype(int) - 2, 0, np.array(picture.shape[1::-1]) - 1)
    x1, y1 = np.ceil(corners.max(0)).astype(int) + 3
    part = picture[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    scale, turn = float(np.hypot(*move[:, 0])), move[:, :2].copy()
    shift = move[:, 2] + turn @ [x0, y0]
    if scale < 1:
        height, width = (max(1, round(length * scale)) for length in part.shape[:2])
        ratio = np.array([width / part.shape[1], height / part.shape[0]])
        part = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
        # Centres of pixels are at halves.
        shift = shift + turn @ (0.5 / ratio - 0.5)
        turn = turn / ratio
    whole = np.hstack([turn, shift[:, None]])
    return cv2.warpAffine(np.ascontiguousarray(part), whole, (side, side), borderMode=cv2.BORDER_REPLICATE)


def move_of(points: np.ndarray, side: int = VIEW, places: Sequence[Sequence[float]] = PLACES) -> np.ndarray:
    """The turn, scale and shift that bring a face to fixed places, float64 [2, 3].

    Args:
        points: five landmarks [5, 2], pixels.
        side: of the view, pixels.
        places: of the two eyes and the middle of the mouth, as parts of the side.
    """
    found = np.stack([points[0], points[1], points[3:].mean(0)]).astype(np.float64)
    return _similarity(found, np.array(places) * side)


def _similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares turn, scale and shift from source to target, float64 [2, 3]."""
    a, b = source - source.mean(0), target - target.mean(0)
    size = max(float((a**2).sum()), 1e-9)
    real = float((a * b).sum()) / size
    turn = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / size
    matrix = np.array([[real, -turn], [turn, real]])
    return np.hstack([matrix, (target.mean(0) - matrix @ source.mean(0))[:, None]])


def grey_view(view: np.ndarray) -> np.ndarray:
    """Grey view with mean 0 and variance 1, float32 [VIEW, VIEW], so that light does not count as change."""
    grey = view.astype(np.float32).mean(2)
    return (grey - grey.mean()) / max(float(grey.std()), 1.0)


def appearance(picture: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Colours of head and hair for tracking: a unit histogram of hue and saturation and of value, float32."""
    import cv2

    left, top, width, height = box
    x0, y0 = max(0, int(left - 0.1 * width)), max(0, int(top - 0.3 * height))
    area = picture[y0 : max(y0, int(top + height)), x0 : max(x0, int(left + 1.1 * width))]
    if area.size == 0:
        return np.zeros(12 * 4 + 8, np.float32)
    hsv = cv2.cvtColor(np.ascontiguousarray(area), cv2.COLOR_RGB2HSV)
    colour = cv2.calcHist([hsv], [0, 1], None, [12, 4], [0, 180, 0, 256]).ravel()
    value = cv2.calcHist([hsv], [2], None, [8], [0, 256]).ravel()
    whole = np.sqrt(np.concatenate([colour, value]))
    return whole / max(float(np.linalg.norm(whole)), 1e-9)


def vectors(view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of an aligned face: who it is, and what it does.

    Who: mean colours of a coarse grid and coarse gradients (HOG, Dalal & Triggs 2005). What: fine gradients
    of brows, eyes and mouth. Both are only good enough to find near copies, not to recognise people.
    """
    from skimage.feature import hog

    grey = view.astype(np.float32).mean(2) / 255
    coarse = hog(grey, orientations=8, pixels_per_cell=(16, 16), cells_per_block=(2, 2))
    colour = view.reshape(4, VIEW // 4, 4, VIEW // 4, 3).mean((1, 3)).ravel().astype(np.float64)
    who = np.concatenate([_unit(coarse), _unit(colour - colour.mean())])
    fine = hog(grey, orientations=8, pixels_per_cell=(8, 8), cells_per_block=(2, 2))
    centred = fine - fine.mean()
    return _unit(who).astype(np.float32), _unit(centred).astype(np.float32)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
