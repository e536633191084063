"""The face crop of MagicFace, forth and back (magicface spec, section 2).

Coordinates are (x, y) in pixels from the outer corner of the picture: pixel i covers i to i + 1, its centre
lies at i + 0.5. So a change of size is a plain factor, and a crop has the same place for any canvas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from mien.errors import DataError

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

FACTOR = 1.5
"""Side of the square around a face, in widths of the detector's box."""
INNER = (80 / 512, 432 / 512)
"""Where that square lies on the canvas, as parts of its side."""
SHARE = (INNER[1] - INNER[0]) / FACTOR
"""Width of the detector's box as a part of the canvas's side, in the data of the released weights."""
MOST_OUTSIDE = 0.02
"""Part of the inner square, and of the canvas around it, that may lie outside the photo without a note."""
SMALLEST_FACE = 8.0
"""Narrowest box, pixels."""


@dataclass(frozen=True)
class Crop:
    """A square of a photo on a canvas of side S.

    Attributes:
        matrix: float64 [2, 3], (x, y, 1) of the photo to (x, y) of the canvas; a factor and a shift.
        canvas: uint8 [S, S, 3].
        outside: bool [S, S], pixels that the photo does not hold; the canvas shows the photo mirrored there.
        notes: what a person should know of it.
        height, width: of the photo, pixels.
    """

    matrix: NDArray[np.float64]
    canvas: NDArray[np.uint8]
    outside: NDArray[np.bool_]
    notes: tuple[str, ...]
    height: int
    width: int

    @property
    def scale(self) -> float:
        """Canvas pixels of a photo pixel."""
        return float(self.matrix[0, 0])

    def to_canvas(self, points: ArrayLike) -> NDArray[np.float64]:
        """Points [..., 2] of the photo, on the canvas."""
        return np.asarray(points, np.float64) * self.scale + self.matrix[:, 2]

    def to_photo(self, points: ArrayLike) -> NDArray[np.float64]:
        """Points [..., 2] of the canvas, in the photo."""
        return (np.asarray(points, np.float64) - self.matrix[:, 2]) / self.scale

    @property
    def covered(self) -> tuple[slice, slice]:
        """Rows and columns of the photo whose pixels lie on the canvas as a whole."""
        first = np.ceil(np.maximum(self.to_photo((0, 0)), 0) - 1e-6).astype(int)
        last = np.floor(np.minimum(self.to_photo(self.canvas.shape[:2]), (self.width, self.height)) + 1e-6)
        x1, y1 = last.astype(int)
        return slice(first[1], y1), slice(first[0], x1)

    def back(self, values: NDArray) -> NDArray[np.float32]:
        """The inverse warp: values on the canvas, seen at the pixels of `covered`.

        Bilinear, averaged where the photo is coarser than the canvas.

        Args:
            values: [S, S] or [S, S, C], any real dtype.

        Returns:
            float32 [h, w] or [h, w, C], in the same units; not rounded.
        """
        rows, columns = self.covered
        size = (columns.stop - columns.start, rows.stop - rows.start)
        corners = self.to_canvas([(columns.start, rows.start), (columns.stop, rows.stop)])
        left, top, right, bottom = (float(edge) for edge in np.clip(corners, 0, len(self.canvas)).ravel())
        box = (left, top, right, bottom)
        planes = values[..., None] if values.ndim == 2 else values
        seen = [_resized(planes[..., c].astype(np.float32), size, box) for c in range(planes.shape[-1])]
        return seen[0] if values.ndim == 2 else np.stack(seen, axis=-1)


def largest(boxes: ArrayLike) -> int:
    """Index of the box with the largest area (the release compared width * bottom - top).

    Args:
        boxes: [n, 4], left, top, width, height; n at least 1.
    """
    sides = np.asarray(boxes, np.float64)[:, 2:]
    return int(sides.prod(axis=1).argmax())


def crop_face(
    photo: NDArray[np.uint8],
    box: ArrayLike | None,
    size: int = 512,
    *,
    whole: bool = False,
    side: Literal["width", "longer"] = "width",
    share: float = SHARE,
) -> Crop:
    """Put the square of side 1.5 w around a face onto the middle of a canvas.

    Args:
        photo: uint8 [H, W, 3].
        box: left, top, width, height of the face in pixels, as detectors tell it; may leave the photo, its
            centre may not.
        size: S, side of the canvas, pixels. 512 is the release's; others show the same part of the photo.
        whole: the photo is such a crop already: all of it goes onto the canvas, an oblong one with mirrored
            strips along its longer sides; `box` is not looked at.
        side: what w is: the box's width, as in the data of the released weights, or its longer side.
        share: w as a part of the canvas's side; more shows less of what surrounds the face.

    Returns:
        The crop. What the photo does not hold is mirrored instead of black, which would look like the mask of
        the person (section 8), and noted from 2 % of the inner square, or of what surrounds it, on.

    Raises:
        DataError: no box, or one that is too narrow, wider than the photo, or centred outside it.
    """
    height, width = photo.shape[:2]
    if whole:
        reach = float(max(height, width))
        centre = np.array([width / 2, height / 2])
    else:
        centre, face = _checked(box, height, width, side)
        reach = face / share
    scale = size / reach
    corner = centre - reach / 2
    matrix = np.array([[scale, 0.0, -corner[0] * scale], [0.0, scale, -corner[1] * scale]])
    outside = _outside(corner, reach, size, height, width)
    return Crop(matrix, _sampled(photo, corner, reach, size), outside, _notes(outside), height, width)


def _checked(
    box: ArrayLike | None, height: int, width: int, side: Literal["width", "longer"]
) -> tuple[NDArray[np.float64], float]:
    """Centre and size of a face."""
    if box is None:
        fix = "give a photo of one face from the front, a box, or call it a crop already"
        raise DataError("no face found", where="photo", fix=fix)
    left, top, w, h = (float(number) for number in np.asarray(box, np.float64))
    centre = np.array([left + w / 2, top + h / 2])
    face = w if side == "width" else max(w, h)
    where = f"box {left:g},{top:g},{w:g},{h:g}"
    if not all(map(math.isfinite, (left, top, w, h))) or min(w, h) < SMALLEST_FACE:
        raise DataError(f"face of less than {SMALLEST_FACE:g} pixels", where=where, fix="give a closer photo")
    if not (0 <= centre[0] <= width and 0 <= centre[1] <= height) or face > max(height, width):
        fix = f"give one of the photo's {width} x {height} pixels"
        raise DataError("the box does not lie in the photo", where=where, fix=fix)
    return centre, face


def _outside(
    corner: NDArray[np.float64], reach: float, size: int, height: int, width: int
) -> NDArray[np.bool_]:
    middles = (np.arange(size) + 0.5) * (reach / size)
    x, y = corner[0] + middles, corner[1] + middles
    return ((y < 0) | (y > height))[:, None] | ((x < 0) | (x > width))[None, :]


def _notes(outside: NDArray[np.bool_]) -> tuple[str, ...]:
    middles = (np.arange(len(outside)) + 0.5) / len(outside)
    line = (middles > INNER[0]) & (middles < INNER[1])
    inner = line[:, None] & line[None, :]
    around, face = float(outside[~inner].mean()), float(outside[inner].mean())
    notes = []
    if face > MOST_OUTSIDE:
        notes.append(
            f"{100 * face:.0f} % of the square of the face itself lie outside the photo and are mirrored: "
            "the face is cut off; give a photo with all of it"
        )
    if around > MOST_OUTSIDE:
        notes.append(
            f"{100 * around:.0f} % of the surroundings of the face lie outside the photo and are mirrored: "
            "background and hair may come out wrong; a photo with more room around the face does better"
        )
    return tuple(notes)


def _sampled(
    photo: NDArray[np.uint8], corner: NDArray[np.float64], reach: float, size: int
) -> NDArray[np.uint8]:
    """The square of the photo, uint8 [S, S, 3]; bilinear, averaged where it shrinks."""
    step = max(1, int(reach / (4 * size)))  # a part of a huge photo need not be padded at its full size
    if step > 1:
        photo = np.asarray(Image.fromarray(photo).reduce(step))
        corner, reach = corner / step, reach / step
    margin = math.ceil(max(1.0, reach / size)) + 1  # what the filter reaches beyond the square
    first = np.floor(corner).astype(int) - margin
    last = np.ceil(corner + reach).astype(int) + margin
    columns, rows = (_mirrored(np.arange(first[i], last[i]), photo.shape[1 - i]) for i in (0, 1))
    left, top = (float(number) for number in corner - first)
    return _resized(photo[rows[:, None], columns], (size, size), (left, top, left + reach, top + reach))


def _mirrored(places: NDArray[np.int_], length: int) -> NDArray[np.int_]:
    """Places of a line of pixels that goes on mirrored at its end pixels, which are not repeated."""
    period = max(1, 2 * (length - 1))
    folded = places % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(places)


def _resized(values: NDArray, size: tuple[int, int], box: Box) -> NDArray:
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR, box))
