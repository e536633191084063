"""A labelled sheet of edits of one photo: a row for each action unit, a column for each strength."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

CELL = 160
"""Smaller pictures are enlarged by a whole factor until they are at least that wide."""
LARGEST = 512
"""Larger pictures are made as small, pixels of the longer side."""

_GAP, _MARGIN = 6, 14
_PAPER, _INK, _FAINT = (250, 250, 248), (34, 34, 38), (120, 120, 126)
_WIDEST = 1.2  # of the row titles, in cells

Picture = NDArray[np.uint8]
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def edit_strip(
    original: Picture,
    edits: Sequence[Sequence[Picture]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    first: str = "original",
    title: str = "",
    note: str = "",
) -> Picture:
    """Lay out edits in rows and columns, the original at the head of each row.

    Args:
        original: uint8 [h, w, 3], h and w at least 64 for readable titles.
        edits: rows of pictures of the original's size.
        rows: titles at the left, one a row; long ones are broken into lines.
        columns: titles at the top, one a column of edits.
        first: title of the original's column.
        title: a line above everything.
        note: a small line below, such as what made the edits.

    Returns:
        uint8 [H, W, 3] RGB.

    Raises:
        ValueError: no rows, pictures of several sizes, or numbers of titles that do not fit.
    """
    if not edits or len(edits) != len(rows) or any(len(row) != len(columns) for row in edits):
        counts = [len(row) for row in edits]
        raise ValueError(f"{len(rows)} row titles and {len(columns)} column titles for rows of {counts}")
    if any(picture.shape != original.shape for row in edits for picture in row):
        raise ValueError("pictures of several sizes")
    lines = [[_shown(picture) for picture in (original, *row)] for row in edits]
    heads = [_plain(text) for text in (first, *columns)]
    page = _Page(lines, [_plain(text) for text in rows], bool(title), bool(note))
    return np.array(page.draw(heads, _plain(title), _plain(note)))


class _Page:
    """Where everything lies, in pixels."""

    def __init__(self, lines: list[list[Picture]], rows: Sequence[str], title: bool, note: bool) -> None:
        self.lines = lines
        self.height, self.width = lines[0][0].shape[:2]
        letters = max(14, min(30, self.width // 11))
        self.font, self.small = (ImageFont.load_default(size) for size in (letters, round(letters * 0.8)))
        self.head = round(letters * 1.5)
        self.broken = [_broken(text, self.font, _WIDEST * self.width) for text in rows]
        longest = max(self.font.getlength(part) for parts in self.broken for part in parts)
        self.left = _MARGIN + round(longest) + 2 * _GAP
        self.top = _MARGIN + self.head * (2 if title else 1)
        right, bottom = self.corner(len(lines), len(lines[0]))
        foot = self.head if note else 0
        self.size = (right - _GAP + _MARGIN, bottom - _GAP + foot + _MARGIN)

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Left upper corner of a cell."""
        return self.left + column * (self.width + _GAP), self.top + row * (self.height + _GAP)

    def draw(self, heads: Sequence[str], title: str, note: str) -> Image.Image:
        page = Image.new("RGB", self.size, _PAPER)
        pen = ImageDraw.Draw(page)
        across = self.size[0] - 2 * _MARGIN
        pen.text((_MARGIN, _MARGIN), _cut(title, self.font, across), _INK, self.font)
        for column, text in enumerate(heads):
            place = (self.corner(0, column)[0] + self.width / 2, self.top - self.head / 2)
            pen.text(place, _cut(text, self.font, self.width), _INK, self.font, anchor="mm")
        for row, (line, parts) in enumerate(zip(self.lines, self.broken)):
            place = (self.left - 2 * _GAP, self.corner(row, 0)[1] + self.height / 2)
            pen.multiline_text(place, "\n".join(parts), _INK, self.font, anchor="rm", align="right")
            for column, picture in enumerate(line):
                page.paste(Image.fromarray(picture), self.corner(row, column))
        foot = (_MARGIN, self.size[1] - _MARGIN)
        pen.text(foot, _cut(note, self.small, across), _FAINT, self.small, anchor="ls")
        return page


def _shown(picture: Picture) -> Picture:
    """Enlarged by a whole factor, each pixel a square; or made smaller."""
    longest, factor = max(picture.shape[:2]), -(-CELL // picture.shape[1])
    if longest > LARGEST:
        height, width = (max(1, round(length * LARGEST / longest)) for length in picture.shape[:2])
        return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _plain(text: str) -> str:
    """One line of letters that Pillow's font has: the minus sign is not among them."""
    return " ".join(text.replace("−", "-").split())


def _broken(text: str, font: _Font, width: float) -> list[str]:
    """Lines of a text at its blanks; a word that is too wide is cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_cut(word, font, width))
    return [line for line in lines if line] or [""]


def _cut(text: str, font: _Font, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"
