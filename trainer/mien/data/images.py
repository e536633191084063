"""An image file of a user as a member of a shard: JPEG and PNG byte for byte, others made PNG."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from mien.data.decode import MAX_PIXELS, decode
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
        DataError: (without `where`) if the file is too large, cut short, no image, or has more than
            `MAX_PIXELS`.
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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own, smaller limit is below
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise DataError(f"image too large: {image.width} x {image.height} pixels, more than {MAX_PIXELS}")
        if image.mode[0] in "IF":
            raise DataError(
                f"image has values of more than 8 bits (mode {image.mode}), whose range is not known"
            )
        picture = ImageOps.exif_transpose(image).convert("RGB")
    except UnidentifiedImageError as error:
        raise DataError(
            f"no image in a format that is read here (JPEG, PNG, {', '.join(FORMATS)})"
        ) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"image too large, more than {MAX_PIXELS} pixels") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise DataError(f"image cannot be decoded: {str(error).splitlines()[0]}") from error
    target = io.BytesIO()
    picture.save(target, "PNG")
    return target.getvalue()
