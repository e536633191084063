"""From any opened picture to upright sRGB, and what had to be decided on the way."""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from mien.data.decode import as_rgb, load_pixels

GREY = 128
"""What lies under the transparent parts of a picture: neither the black nor the white of a mask."""
MAX_PROFILE = 4 << 20
"""Largest colour profile that is obeyed, bytes; those of printers have about two million."""

_ORIENTATION = 0x0112  # of EXIF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_srgb(image: Image.Image, notes: list[str]) -> NDArray[np.uint8]:
    """Pixels of the first frame, uint8 [H, W, 3] sRGB, upright by the camera's tag.

    Args:
        image: opened by Pillow, not yet loaded.
        notes: gets a line for each decision that a person would want to know of.

    Raises:
        ValueError: for 16 bit and float images that are no PNG, whose range is not known.
        OSError: if it is damaged; Pillow raises others as well (see `mien.data.decode.decode_pillow`).
    """
    if getattr(image, "is_animated", False) and image.format != "MPO":  # a phone's JPEG with a depth map
        notes.append(
            "several pages: first one taken" if image.format == "TIFF" else "animated: first frame taken"
        )
    load_pixels(image)  # a TIFF is turned here already, and forgets its tag
    if image.mode[0] in "IF":
        return as_rgb(image)
    profile = image.info.get("icc_profile")
    image = _upright(image, notes)
    alpha = None
    if image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
        image = image.convert("L" if image.mode in ("L", "LA") else "RGB")
    elif image.mode in ("1", "P"):
        image = image.convert("RGB")
    image = _from_profile(image, profile, notes)
    if alpha is not None and alpha.getextrema() != (255, 255):
        notes.append("transparent: laid over grey")
        return np.array(Image.composite(image, Image.new("RGB", image.size, (GREY,) * 3), alpha))
    return np.array(image)


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        notes.append("damaged EXIF: not turned")
        return image
    return image if turn is None else image.transpose(turn)


def _from_profile(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """RGB; values by the embedded profile, or as they are where it is absent or of no use."""
    if profile:
        try:
            if len(profile) > MAX_PROFILE:
                raise ValueError("profile too large")
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if source.profile.xcolor_space == "RGB " and image.mode == "L":
                image = image.convert("RGB")
            changed = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            assert changed is not None  # only in place there is no result
            return changed
        except (ImageCms.PyCMSError, OSError, ValueError):
            notes.append("colour profile of no use: colours taken as sRGB")
    elif image.mode == "CMYK":
        notes.append("print colours without a profile: colours are a guess")
    return image.convert("RGB")
