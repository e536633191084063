"""An edited canvas back into its photo, under a soft mask (magicface spec, section 8, pitfall 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mien.editing.crop import Crop

REACH = 3.0
"""Standard deviations after which the feather ends: nothing further out changes."""


@dataclass(frozen=True)
class Composite:
    """An edited photo.

    Attributes:
        pixels: uint8 [H, W, 3]; equal to the photo wherever `mask` is 0.
        mask: float32 [H, W] in 0..1, how much of the edit each pixel shows.
        shift: float64 [3], levels added to the edit's red, green and blue; zeros unless matched.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.float32]
    shift: NDArray[np.float64]


def composite(
    photo: NDArray[np.uint8],
    crop: Crop,
    edited: NDArray,
    mask: NDArray | None = None,
    *,
    dilate: float = 0.03,
    feather: float = 0.01,
    match_rim: bool = False,
) -> Composite:
    """Paste an edit into the photo that it was cropped from.

    Args:
        photo: uint8 [H, W, 3], the one that `crop` was cut from.
        crop: where the canvas lies in it.
        edited: [S, S, 3], levels 0..255, uint8 or float.
        mask: [S, S] bool, where the edit was allowed to draw; None: everywhere.
        dilate: how far the mask grows, as a part of S.
        feather: standard deviation of its soft rim, as a part of S; the rim ends `REACH` of them further out.
        match_rim: shift the edit's colours so that their mean over the rim is the photo's.

    Raises:
        ValueError: for shapes that do not fit the crop, or negative fractions.
    """
    size = len(crop.canvas)
    if photo.shape != (crop.height, crop.width, 3) or edited.shape != (size, size, 3):
        raise ValueError(f"photo {photo.shape} and edit {edited.shape} do not fit the crop")
    if mask is not None and mask.shape != (size, size):
        raise ValueError(f"mask {mask.shape} on a canvas of {size} x {size}")
    if min(dilate, feather) < 0:
        raise ValueError("dilate and feather are fractions of the canvas, 0 or more")
    soft = _soft(np.ones((size, size), bool) if mask is None else mask.astype(bool), dilate, feather)
    share = crop.back(soft * _window(crop, feather))
    patch = crop.back(edited)
    before = photo[crop.covered]
    shift = _rim_shift(before, patch, share) if match_rim else np.zeros(3)
    mixed = before + share[..., None] * (patch + shift - before)
    changed = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    pixels, whole = photo.copy(), np.zeros(photo.shape[:2], np.float32)
    pixels[crop.covered] = np.where(share[..., None] > 0, changed, before)
    whole[crop.covered] = share
    return Composite(pixels, whole, shift)


def _soft(mask: NDArray[np.bool_], dilate: float, feather: float) -> NDArray[np.float64]:
    """The grown mask with a Gaussian rim, float64 [S, S]; exactly 0 from a stated distance on."""
    if not mask.any():
        return np.zeros(mask.shape)
    size, distance = len(mask), ndimage.distance_transform_edt(~mask)
    grown = (distance <= dilate * size).astype(np.float64)
    soft = ndimage.gaussian_filter(grown, feather * size, mode="nearest", truncate=REACH).clip(0, 1)
    # The filter's window is a square, whose corners reach further.
    return np.where(distance <= (dilate + REACH * feather) * size, soft, 0)


def _window(crop: Crop, feather: float) -> NDArray[np.float64]:
    """1 inside, falling to 0 at the edges of the canvas that lie in the photo: they would cut a mask off."""
    size = len(crop.canvas)
    middles = np.arange(size) + 0.5
    (left, top), (right, bottom) = crop.to_photo((0, 0)), crop.to_photo((size, size))
    width = max(REACH * feather * size, 1.0)
    lines = []
    for low, high, length in ((top, bottom, crop.height), (left, right, crop.width)):
        rising = np.clip(middles / width, 0, 1) if low > 1e-6 else np.ones(size)
        falling = np.clip(middles[::-1] / width, 0, 1) if high < length - 1e-6 else np.ones(size)
        lines.append(np.minimum(rising, falling))
    return lines[0][:, None] * lines[1][None, :]


def _rim_shift(
    before: NDArray[np.uint8], patch: NDArray[np.float32], share: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Mean of photo minus edit over the outer half of the rim, where an edit should change nothing."""
    rim = (share > 0) & (share < 0.5)
    if not rim.any():
        return np.zeros(3)
    return (before[rim].astype(np.float64) - patch[rim]).mean(axis=0)
