"""Pictures on pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def stacked(blocks: Sequence[NDArray[np.uint8]]) -> Image.Image:
    """Blocks uint8 [H, W, 3] of any size below each other, on white."""
    width = max(block.shape[1] for block in blocks)
    page = Image.new("RGB", (width, sum(len(block) for block in blocks)), "white")
    top = 0
    for block in blocks:
        page.paste(Image.fromarray(block), (0, top))
        top += len(block)
    return page
