"""A visible mark on an edited picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TEXT = "AI edit"


def marked(pixels: NDArray[np.uint8], text: str = TEXT) -> NDArray[np.uint8]:
    """A copy with a small label at the lower right: light letters on a dark plate, readable on any picture.

    Args:
        pixels: uint8 [H, W, 3].
        text: a few words.
    """
    height, width = pixels.shape[:2]
    letters = max(11, round(min(height, width) / 24))
    font = ImageFont.load_default(size=letters)
    pad, gap = max(2, letters // 3), max(2, letters // 3)
    left, top, right, bottom = font.getbbox(text)
    plate = (right - left + 2 * pad, bottom - top + 2 * pad)
    corner = (max(0, width - gap - plate[0]), max(0, height - gap - plate[1]))
    layer = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    box = (corner[0], corner[1], corner[0] + plate[0] - 1, corner[1] + plate[1] - 1)
    pen.rounded_rectangle(box, radius=pad, fill=(20, 20, 24, 200))
    pen.text((corner[0] + pad - left, corner[1] + pad - top), text, fill=(255, 255, 255, 255), font=font)
    picture = Image.fromarray(pixels).convert("RGBA")
    return np.array(Image.alpha_composite(picture, layer).convert("RGB"))
