"""The background picture: the source's photograph with its person filled with grey (rigface spec, 2)."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from mien.errors import MienError

GREY = 127
"""What the person is filled with."""

DILATION = 15
"""Pixels at 512 by which the mask grows, so that the silhouette does not betray the hair. Training draws it
(`config.RigFaceModel.dilation`)."""


def person_mask(
    labels: np.ndarray, other: np.ndarray | None = None, dilation: float = DILATION
) -> np.ndarray:
    """Pixels that the editor has to draw.

    Args:
        labels: uint8 [S, S], parse labels of the source; all above 0 are the person.
        other: [S, S], labels of the target or the coverage of the edited head; all above 0 joins the mask.
            For edits of the pose (`modes.Edit.mask` is "union").
        dilation: by how much the mask grows, pixels at 512; scaled to the size of the picture.

    Returns:
        bool [S, S].

    Raises:
        MienError: for shapes that differ or a negative dilation.
    """
    if labels.ndim != 2 or (other is not None and other.shape != labels.shape):
        shapes = [list(mask.shape) for mask in (labels, other) if mask is not None]
        raise MienError(f"masks of shape {shapes}", where="background", fix="give [S, S] masks of one size")
    if dilation < 0:
        raise MienError(f"dilation {dilation}", where="background", fix="give 0 or more")
    mask = labels > 0
    if other is not None:
        mask = mask | (other > 0)
    # Of a mask without a person the distance is not defined.
    if not mask.any():
        return mask
    reach = dilation * max(labels.shape) / 512
    grown: np.ndarray = distance_transform_edt(~mask) <= reach
    return grown


def grey_background(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A copy of `image` uint8 [S, S, 3] with `GREY` where `mask` bool [S, S] is set.

    Raises:
        MienError: for sizes that differ.
    """
    if image.shape != (*mask.shape, 3):
        what = f"a picture of {[*image.shape]} and a mask of {[*mask.shape]}"
        raise MienError(what, where="background", fix="give a picture [S, S, 3] and its mask [S, S]")
    return np.where(mask[..., None], np.uint8(GREY), image)
