"""One reader for photos that nobody vouches for: files and uploads, behind limits, named safely.

A photo is read whole into memory and decoded once; nothing is written, and no tool is started. What is known
of it (size, format by its first bytes, pixels by its header) is checked before anything is decoded.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.data.decode import decode_pillow
from mien.editing.colour import to_srgb
from mien.errors import DataError
from mien.predict.media import MAX_IMAGE, MAX_PIXELS

SMALLEST = 16
"""Shortest side of a photo, pixels."""
MAX_SCANS = 100
"""Scans of a JPEG: cameras write up to a dozen, and each costs a pass over the whole picture."""
LONGEST_NAME = 100
"""Of a safe name, in bytes of UTF-8."""

_ASK = "give a JPEG, PNG, WebP, BMP or TIFF"
_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_OTHERS = {
    b"GIF8": "a GIF",
    b"%PDF": "a PDF",
    b"PK": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"\x80": "a pickle, maybe",
}
_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")  # not those that stand among the values of a scan
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # devices of Windows


@dataclass(frozen=True)
class Photo:
    """A photo that can be edited.

    Attributes:
        pixels: uint8 [H, W, 3] sRGB, upright; both sides at least `SMALLEST`, H x W at most `MAX_PIXELS`.
        name: safe file name, for people.
        sha256: of the bytes as given, 64 hexadecimal digits.
        notes: what was decided in reading, such as "animated: first frame taken".
    """

    pixels: NDArray[np.uint8]
    name: str
    sha256: str
    notes: tuple[str, ...] = ()


def read_photo(data: bytes | Path, name: str = "") -> Photo:
    """Read a photo; what it holds decides the format, never the name.

    Of an animation the first frame is taken, with a note; a GIF is refused. Grey, palette and print colours
    become sRGB, by the embedded profile where there is one. 16 bits of a PNG are scaled to 8.

    Args:
        data: the bytes of an upload, or the path of a file.
        name: as the sender calls it; default the name of the file. Only made safe and shown.

    Raises:
        DataError: one line with what is wrong, where and how to mend it: absent, empty, too large in bytes or
            pixels, too small, of another kind, or damaged.
    """
    where = safe_name(name or (data.name if isinstance(data, Path) else "upload"))
    content = _content(data, where)
    if not content:
        raise DataError("file is empty", where=where, fix=_ASK)
    if len(content) > MAX_IMAGE:
        raise DataError("file too large", where=where, fix=f"keep it below {MAX_IMAGE >> 20} MiB")
    kind = _kind(content, where)
    if kind == "JPEG" and _scans(content) > MAX_SCANS:
        raise DataError(f"JPEG of more than {MAX_SCANS} scans", where=where, fix="save the photo again")
    notes: list[str] = []

    def convert(image: Image.Image) -> NDArray[np.uint8]:
        if min(image.size) < SMALLEST:
            width, height = image.size
            fix = f"give one of {SMALLEST} x {SMALLEST} pixels or more"
            raise DataError(f"picture too small: {width} x {height} pixels", where=where, fix=fix)
        return to_srgb(image, notes)

    pixels = decode_pillow(content, (kind,), where, MAX_PIXELS, convert)
    return Photo(pixels, where, hashlib.sha256(content).hexdigest(), tuple(notes))


def safe_name(name: str, default: str = "photo") -> str:
    """A file name that is nothing else: no folder, control or direction sign, not hidden, no device, short.

    Letters and digits of any script, blanks and `-_.()+` stay, the rest becomes `_`. The suffix survives
    shortening. Idempotent.

    Args:
        name: anything.
        default: where nothing is left; itself safe.
    """
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    text = "".join(sign for sign in last if unicodedata.category(sign)[0] != "C")
    text = unicodedata.normalize("NFC", text)
    text = re.sub(r"[^\w .()+-]", "_", text).strip(" .-")
    if _RESERVED.match(text):
        text = f"_{text}"
    return _shortened(text) or default


def _scans(jpeg: bytes) -> int:
    """Scans up to the end of the picture; a phone may have put a film behind it."""
    count, at = 0, 2
    while found := _MARKER.search(jpeg, at):
        at, marker = found.end(), found.group()[1]
        if marker == _END:
            break
        if marker != _START:
            count += marker == _SCAN
            at += int.from_bytes(jpeg[at : at + 2], "big")
    return count


def _shortened(text: str) -> str:
    suffix = PurePosixPath(text).suffix
    if len(suffix.encode()) > 10 or " " in suffix:
        suffix = ""
    stem = text[: len(text) - len(suffix)].encode()[: LONGEST_NAME - len(suffix.encode())]
    return (stem.decode("utf-8", "ignore").rstrip(" .-") + suffix) if stem else ""


def _content(data: bytes | Path, where: str) -> bytes:
    """At most one byte more than is allowed."""
    if not isinstance(data, Path):
        return data
    try:
        if not data.is_file():  # nor a pipe or a device, which may never end
            raise DataError("no such file", where=where, fix="check the path")
        with data.open("rb") as file:
            return file.read(MAX_IMAGE + 1)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=where, fix="check the file") from error


def _kind(content: bytes, where: str) -> str:
    """Pillow's name of the format."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    for start, kind in _STARTS.items():
        if content.startswith(start):
            return kind
    if content[4:8] == b"ftyp":
        what = "a video, or a HEIC or AVIF picture"
    elif content[:256].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        what = "HTML, SVG or XML"
    else:
        what = next((kind for start, kind in _OTHERS.items() if content.startswith(start)), "something else")
    raise DataError(f"not a photo but {what}", where=where, fix=_ASK)
