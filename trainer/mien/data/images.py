"""An image file of a user as a member of a shard: JPEG and PNG byte for byte, others made PNG."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from mien.data.decode import decode, decode_pillow
from mien.data.tar import MAX_MEMBER
from mien.errors import DataError

FORMATS = ("BMP", "GIF", "PPM", "TIFF", "WEBP")
"""What is read beside JPEG and PNG; a short list, since each decoder is a surface (EPS would run a
program)."""


def load_image(path: Path) -> tuple[str, bytes]:
    """Extension (`jpg` or `png`) and bytes of an image that has been decoded once, so it is known to be
    whole.

    The content counts, not the name. Images that are neither JPEG nor PNG become PNG: first frame, RGB,
    orientation tag obeyed.

    Raises:
        DataError: (without `where`) if the file is too large, cut short, no image, or too large
            an image.
    """
    try:
        if path.stat().st_size > MAX_MEMBER:
            raise DataError(f"file of more than {MAX_MEMBER} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error
    if data[:2] == b"\xff\xd8":
        extension = "jpg"
    elif data[:4] == b"\x89PNG":
        extension = "png"
    else:
        return "png", _as_png(data)
    decode(data)
    return extension, data


def _as_png(data: bytes) -> bytes:
    if not data:
        raise DataError("file is empty")
    target = io.BytesIO()
    Image.fromarray(decode_pillow(data, FORMATS)).save(target, "PNG")
    return target.getvalue()
