"""Images from bytes, behind a size check that reads only the header."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from simplejpeg import decode_jpeg, decode_jpeg_header
from torch import Tensor
from torchvision import io as torchvision_io

from mien.data.image_memory import room
from mien.data.reader import Sample
from mien.errors import DataError

MAX_PIXELS = 1 << 24
"""Largest image of a sample, in pixels (4096 x 4096): a small file can claim any size."""

_PNG = b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"  # a camera's tags, which may turn the image; another decoder knows them
_COLOURS = ("YCbCr", "Gray", "RGB")  # not those of print


def image_size(data: bytes | bytearray, where: object = "") -> tuple[int, int]:
    """Height and width that the header of a JPEG or PNG states; nothing is decoded.

    Raises:
        DataError: if it is neither, or the header is cut short.
    """
    return _header(data, where)[:2]


def _header(data: bytes | bytearray, where: object) -> tuple[int, int, str]:
    """Height, width, and how a JPEG stores colours (for a PNG nothing)."""
    try:
        if data[:8] == _PNG and data[12:16] == b"IHDR" and len(data) >= 24:
            width, height = (int.from_bytes(data[first : first + 4], "big") for first in (16, 20))
            colours = ""
        else:
            height, width, colours, _ = decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError) as error:  # KeyError: colours that simplejpeg has no name for
        damaged = "image cannot be decoded: its JPEG header is cut short or damaged"
        what = damaged if data[:2] == b"\xff\xd8" else "image is neither a JPEG nor a PNG"
        raise DataError(what, where=where, fix="write the image again") from error
    if 0 in (height, width):
        raise DataError("image without pixels", where=where, fix="write the image again")
    return height, width, colours


def decode(data: bytes | bytearray, where: object = "", max_pixels: int = MAX_PIXELS) -> Tensor:
    """RGB image uint8 [3, H, W] of a JPEG or PNG; grey is repeated, alpha dropped, 16 bits cut to 8, and a
    camera's orientation tag (EXIF) obeyed.

    The values are stored pixel by pixel (channels last), as the decoder writes them, and inside
    `batch_memory` where the images of a batch follow each other: `stack_images` relies on both.

    Raises:
        DataError: if the image is larger than `max_pixels` or cannot be decoded.
    """
    height, width, colours = _header(data, where)
    if height * width > max_pixels:
        fix = f"keep images below {max_pixels} pixels"
        raise DataError(f"image too large: {width} x {height} pixels", where=where, fix=fix)
    if data[0] != 0xFF:
        return torch.from_numpy(decode_pillow(data, ("PNG",), where, max_pixels)).permute(2, 0, 1)
    if colours in _COLOURS and data.find(_EXIF, 0, 1 << 16) < 0:
        image = room(height, width)
        try:
            decode_jpeg(data, buffer=image.numpy())
            return image.permute(2, 0, 1)
        except ValueError:
            pass  # a fault that the other decoder may see past, or name
    return _decode_torchvision(data, where)


def _decode_torchvision(data: bytes | bytearray, where: object) -> Tensor:
    """What the fast decoder does not know: cameras' tags, print colours, small faults."""
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)  # torch warns about read-only memory
    try:
        return torchvision_io.decode_jpeg(
            encoded, mode=torchvision_io.ImageReadMode.RGB, apply_exif_orientation=True
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[0].rpartition(": ")[2]
        what = f"image cannot be decoded: {reason}"
        raise DataError(what, where=where, fix="write the image again") from error


def load_pixels(image: Image.Image) -> None:
    """Decode an opened image in place.

    Raises:
        ValueError: for damage that Pillow meets with a TypeError, or when it converts with an AssertionError
            (seen: 13.0). What else it raises stays as it is.
    """
    try:
        image.load()
    except TypeError as error:
        raise ValueError("a tag of a wrong type") from error
    if image.mode in ("P", "PA") and image.palette is None:
        raise ValueError("palette is missing")


def as_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3], upright; alpha dropped, the 16 bits of a PNG cut to 8.

    Raises:
        ValueError: for 16 bit and float images of other formats, whose range is not known.
    """
    deep, png = image.mode[0] in "IF", image.format == "PNG"
    if deep and not png:
        raise ValueError(f"values of more than 8 bits (mode {image.mode}), whose range is not known")
    load_pixels(image)
    image = ImageOps.exif_transpose(image)
    if deep:
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    return np.array(image.convert("RGB"))


def decode_pillow(
    data: bytes | bytearray,
    formats: tuple[str, ...],
    where: object = "",
    max_pixels: int = MAX_PIXELS,
    to_rgb: Callable[[Image.Image], NDArray[np.uint8]] = as_rgb,
) -> NDArray[np.uint8]:
    """RGB image uint8 [H, W, 3], as `decode`, by Pillow.

    Also for PNG, since torchvision's decoder (seen: 0.29) crashes the process on damaged ones.

    Args:
        data: the encoded image.
        formats: Pillow's names of the formats it may have.
        where: named in errors.
        max_pixels: largest height times width; checked before pixels are decoded.
        to_rgb: makes the pixels of the opened image, whose size has been checked.

    Raises:
        DataError: as `decode`, and for 16 bit and float images of other formats, whose range is not known.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters is raised below, as an error
            image = Image.open(io.BytesIO(data), formats=formats)
            if image.width * image.height > max_pixels:
                what = f"image too large: {image.width} x {image.height} pixels"
                raise DataError(what, where=where, fix=f"keep images below {max_pixels} pixels")
            return to_rgb(image)
    except UnidentifiedImageError as error:
        what = f"image is in none of the formats {', '.join(formats)}"
        raise DataError(what, where=where, fix="write it as JPEG or PNG") from error
    except Image.DecompressionBombError as error:
        fix = f"keep images below {max_pixels} pixels"
        raise DataError("image too large: its header claims a huge size", where=where, fix=fix) from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        what = f"image cannot be decoded: {(str(error).splitlines() or [type(error).__name__])[0]}"
        raise DataError(what, where=where, fix="write the image again") from error


def decode_sample(sample: Sample) -> Tensor:
    """The sample's image, RGB uint8 [3, H, W].

    Raises:
        DataError: as `decode`, or if the sample has no image; names shard and key.
    """
    return decode(sample.image, sample.where)
