"""Contact sheets: many small pictures with titles on one page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP, _MARGIN = 6, 10
_PAPER, _INK = (250, 250, 248), (40, 40, 44)


def contact_sheet(images: Sequence[np.ndarray], titles: Sequence[str], columns: int) -> np.ndarray:
    """Lay out pictures row by row, each with its title below.

    Args:
        images: uint8 [h, w, 3] each; sizes may differ, the largest sets the cell.
        titles: one a picture; too long ones are shortened to fit the cell.
        columns: pictures in a row, at least 1.

    Returns:
        uint8 [H, W, 3] RGB.

    Raises:
        ValueError: no pictures, columns below 1, or another number of titles than of pictures.
    """
    if not images or columns < 1 or len(images) != len(titles):
        raise ValueError(f"a sheet of {len(images)} pictures, {len(titles)} titles and {columns} columns")
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    letters = max(10, min(22, width // 8))
    font = ImageFont.load_default(size=letters)
    line = round(letters * 1.4) + 2
    rows = -(-len(images) // columns)
    columns = min(columns, len(images))
    page = Image.new("RGB", (_span(columns, width), _span(rows, height + line)), _PAPER)
    pen = ImageDraw.Draw(page)
    for index, (image, title) in enumerate(zip(images, titles)):
        row, column = divmod(index, columns)
        left, top = _MARGIN + column * (width + _GAP), _MARGIN + row * (height + line + _GAP)
        page.paste(Image.fromarray(image), (left + (width - image.shape[1]) // 2, top))
        text = _fit(title, font, width)
        pen.text((left + (width - font.getlength(text)) / 2, top + height + 1), text, _INK, font)
    return np.array(page)


def _span(count: int, size: int) -> int:
    return 2 * _MARGIN + count * size + (count - 1) * _GAP


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"
