"""Pictures of a stored pair as an editor takes them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import functional as VF

from mien.data.decode import MAX_PIXELS, decode
from mien.data.reader import Sample
from mien.data.schema import image_member
from mien.errors import DataError
from mien.systems.editing.parsing import CLASSES

MAPS: dict[str, tuple[str, ...]] = {"magicface": ("cond",), "rigface": ("bg", "render")}
"""Condition pictures of each system's batches, in the order in which the released denoiser takes them."""


def picture(sample: Sample, part: str, size: int) -> tuple[Tensor, float]:
    """One picture of a pair, uint8 [3, size, size], and how many times larger it was stored.

    Args:
        sample: of a schema in `mien.data.schema.PAIRS`.
        part: one of the schema's images, such as `src`.
        size: side of the result, pixels.

    Raises:
        DataError: if it is absent, damaged or not square.
    """
    image = decode(_member(sample, part), sample.where)
    height, width = image.shape[-2:]
    if height != width:
        what = f"picture {part} is {width} x {height} pixels, not square"
        raise DataError(what, where=sample.where, fix="cut faces as squares")
    if height != size:
        image = VF.resize(image, [size, size], antialias=True)
    return image, height / size


def labels(sample: Sample, part: str, size: int) -> np.ndarray:
    """What the pixels of `src` or `tgt` show, uint8 [size, size], see `parsing.CLASSES`.

    Raises:
        DataError: if it is absent, damaged, not square or holds other labels.
    """
    data = _member(sample, f"{part}.parse")
    fix = "write it as an 8-bit grey PNG of labels 0..18"
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.width * image.height > MAX_PIXELS or image.width != image.height or image.mode != "L":
                what = f"labels of {part} are {image.width} x {image.height} pixels of mode {image.mode}"
                raise DataError(what, where=sample.where, fix=fix)
            found = np.asarray(image.resize((size, size), Image.Resampling.NEAREST))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise DataError(f"labels of {part} cannot be read", where=sample.where, fix=fix) from error
    if found.max(initial=0) >= len(CLASSES):
        raise DataError(f"labels of {part} hold {int(found.max())}", where=sample.where, fix=fix)
    return found


def _member(sample: Sample, part: str) -> bytes:
    data = image_member(sample.members, part)
    if data is None:
        raise DataError(f"pair without the image {part}", where=sample.where, fix="make the set again")
    return data


def as_pixels(pictures: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] -> float32 in -1..1."""
    return pictures.to(torch.float32) / 127.5 - 1


def as_bytes(pictures: Tensor) -> Tensor:
    """float [B, 3, H, W] in -1..1, cut to it -> uint8."""
    return ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
