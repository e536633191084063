"""A picture of faces with their captions: what was kept, what was refused, and why."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mien.corpus.caption_summary import TO_DO, Face
from mien.corpus.ledger import Row

FACE, WIDTH, GAP, LETTERS = 176, 760, 14, 14
"""Pixels: side of a face, width of a card, space, height of letters."""

COLUMNS = 2
"""Cards in a row."""

_FIXED = "\u00a0"  # a space at which no line ends

_PAPER, _CARD, _INK, _GREY = (236, 236, 233), (252, 252, 251), (34, 34, 38), (112, 112, 118)
_KEPT, _REFUSED, _WAITING = (38, 128, 74), (186, 44, 44), (130, 130, 136)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class _Line:
    text: str
    colour: Colour = _INK
    bold: bool = False


def choose_faces(faces: list[Face], count: int, seed: int = 0) -> list[Face]:
    """Faces at random, as many kept as refused where there are enough of both; refused ones first.

    Of the refused each reason comes in turn, so that a rare one is seen.
    """
    rng = np.random.default_rng(seed)
    order = [faces[place] for place in rng.permutation(len(faces))]
    kept = [face for face in order if face.reason == "kept"]
    refused = list(_in_turn([face for face in order if face.reason not in ("kept", TO_DO)]))
    wrong = min(len(refused), max(count // 2, count - len(kept)))
    return [*refused[:wrong], *kept[: count - wrong]]


def _in_turn(faces: list[Face]) -> Iterator[Face]:
    by_reason: dict[str, list[Face]] = {}
    for face in faces:
        by_reason.setdefault(face.reason, []).append(face)
    for place in range(max(map(len, by_reason.values()), default=0)):
        yield from (group[place] for group in by_reason.values() if place < len(group))


def draw_sheet(faces: list[Face], crops: list[bytes]) -> npt.NDArray[np.uint8]:
    """Cards of faces with their captions, uint8 [H, W, 3].

    Args:
        faces: at least one.
        crops: JPEG of each.
    """
    cards = [(_card(face, crop), _colour(face.reason)) for face, crop in zip(faces, crops, strict=True)]
    rows = [cards[first : first + COLUMNS] for first in range(0, len(cards), COLUMNS)]
    heights = [max(card.height for card, _ in row) for row in rows]
    size = (COLUMNS * (WIDTH + GAP) + GAP, sum(heights) + GAP * (len(rows) + 1))
    page = Image.new("RGB", size, _PAPER)
    top = GAP
    for row, height in zip(rows, heights, strict=True):
        for column, (card, mark) in enumerate(row):
            left = GAP + column * (WIDTH + GAP)
            page.paste(_CARD, (left, top, left + WIDTH, top + height))
            page.paste(card, (left, top))
            # The mark goes down as far as the higher card beside it.
            page.paste(mark, (left, top, left + 4, top + height))
        top += height + GAP
    return np.asarray(page)


def _card(face: Face, crop: bytes) -> Image.Image:
    left, line = FACE + 3 * GAP // 2, round(LETTERS * 1.4)
    room = WIDTH - left - GAP
    lines = [part for told in _text(face) for part in _wrapped(told, room)]
    height = max(FACE, line * len(lines)) + GAP
    card = Image.new("RGB", (WIDTH, height), _CARD)
    picture = Image.open(io.BytesIO(crop)).convert("RGB").resize((FACE, FACE), Image.Resampling.LANCZOS)
    card.paste(picture, (GAP // 2, GAP // 2))
    pen = ImageDraw.Draw(card)
    for place, told in enumerate(lines):
        stroke = 0.4 if told.bold else 0
        at = (left, GAP // 2 - 2 + place * line)
        pen.text(
            at,
            told.text.replace(_FIXED, " "),
            told.colour,
            _font(),
            stroke_width=stroke,
            stroke_fill=told.colour,
        )
    return card


def _colour(reason: str) -> Colour:
    return {"kept": _KEPT, TO_DO: _WAITING}.get(reason, _REFUSED)


def _text(face: Face) -> Iterator[_Line]:
    codes = face.outcome["codes"] if face.outcome else []
    verdict = f"refused: {', '.join(codes)}" if codes else face.reason.replace("_", " ")
    yield _Line(verdict if codes or face.reason in ("kept", TO_DO) else f"no caption: {verdict}",
                _colour(face.reason), True)  # fmt: skip
    yield _Line(f"{face.row['key']}, yaw {face.row['yaw']:.0f}", _GREY)
    record = face.outcome["record"] if face.outcome else None
    if record is not None:
        yield from _sentences(record)
    if seen := (face.outcome or {}).get("units"):
        told = [
            f"AU {number} {_intensity(sides)}".replace(" ", _FIXED)
            for number, sides in seen.items()
            if max(sides) >= 0.2
        ]
        yield _Line(f"the meter sees {', '.join(told) or 'nothing of note'}", _GREY)


def _intensity(sides: list[float]) -> str:
    left, right = sides
    return f"{left:.2f}" if left == right else f"left {left:.2f} right {right:.2f}"


def _sentences(record: Row) -> Iterator[_Line]:
    yield _Line(str(record.get("global", "")))
    for local in record.get("locals") or []:
        units = ", ".join(f"AU{_FIXED}{number}" for number in local["au"])
        yield _Line(f"· {local['text']}" + (f" [{units}]" if units else ""))
    yield _Line(str(record.get("summary", "")))


def _wrapped(told: _Line, room: int) -> Iterator[_Line]:
    """Lines that fit `room` pixels; a word longer than that is cut."""
    line = ""
    for word in told.text.split(" "):
        while _length(word) > room:
            word = word[:-1]
        longer = f"{line} {word}".strip()
        if _length(longer) <= room:
            line = longer
        else:
            yield _Line(line, told.colour, told.bold)
            line = word
    if line:
        yield _Line(line, told.colour, told.bold)


def _length(text: str) -> float:
    return _font().getlength(text.replace(_FIXED, " "))


@cache
def _font() -> Font:
    return ImageFont.load_default(size=LETTERS)
