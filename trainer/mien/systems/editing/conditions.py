"""The condition image of MagicFace: where to draw, and how the head is turned (magicface spec, 2)."""

from __future__ import annotations

from functools import cache

import matplotlib
import numpy as np

from mien.systems.editing.parsing import MaskMode, blacked

JAW = 17
"""Points of the jaw, from the person's right ear over the chin to the left one (first points of 68)."""

_POINTS = 68 + 2  # of all points the colours are spread over: landmarks and gaze
_RADIUS = 2 / 256


def condition_image(picture: np.ndarray, labels: np.ndarray, jaw: np.ndarray, mode: MaskMode) -> np.ndarray:
    """A picture without the person, with coloured dots along the jaw added.

    Args:
        picture: uint8 [H, W, 3].
        labels: what its pixels show, uint8 [H, W], see `parsing.CLASSES`.
        jaw: float [17, 2], (x, y) in pixels; pixel (r, c) has its centre at (c + 0.5, r + 0.5).
        mode: what is blacked out.

    Returns:
        uint8 [H, W, 3].
    """
    background = np.where(blacked(labels, mode)[..., None], 0, picture).astype(np.float32)
    return np.clip(np.rint(background + 255 * jaw_dots(jaw, picture.shape[0])), 0, 255).astype(np.uint8)


def jaw_dots(jaw: np.ndarray, size: int) -> np.ndarray:
    """Filled circles on black, float32 [size, size, 3] in 0..1; the edge of a circle covers part of a pixel.

    A circle has the radius 2 of a picture of 256 pixels. Mirroring the picture would be wrong: colours tell
    left from right.
    """
    centres = np.arange(size, dtype=np.float32) + 0.5
    dots = np.zeros((size, size, 3), np.float32)
    radius = _RADIUS * size
    for (x, y), colour in zip(np.asarray(jaw, np.float32), _colours(), strict=True):
        away = np.hypot(centres[:, None] - y, centres[None, :] - x)
        # Below a pixel's size a circle is a fainter pixel, not a smaller one.
        cover = np.clip(radius + 0.5 - away, 0, min(1.0, 2 * radius))
        dots = np.maximum(dots, cover[..., None] * colour)
    return dots


@cache
def _colours() -> np.ndarray:
    """Of the released preprocessing: rainbow with red and blue exchanged, float32 [17, 3]."""
    spread = matplotlib.colormaps["rainbow"](np.linspace(0, 1, _POINTS))
    return spread[:JAW, 2::-1].astype(np.float32)
