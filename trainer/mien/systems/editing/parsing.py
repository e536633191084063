"""What the pixels of a face picture show: classes of CelebAMask-HQ (magicface spec, 2: condition image)."""

from __future__ import annotations

import numpy as np

from mien.faces.regions import LABELS
from mien.systems.editing.config import MaskMode

CLASSES = (
    "background", "skin", "left_brow", "right_brow", "left_eye", "right_eye", "glasses", "left_ear",
    "right_ear", "earring", "nose", "mouth", "upper_lip", "lower_lip", "neck", "necklace", "cloth", "hair",
    "hat",
)  # fmt: skip
"""Names of the labels, as face-parsing networks number them."""

KEPT = (7, 8, 9, 14, 16, 17, 18)
"""Labels that `face` leaves in the picture."""

# The face world tells fewer parts apart: it has no nose, ears or neck of its own, and left and right are one.
_OF_WORLD = {
    "background": 0, "skin": 1, "brow": 2, "eye": 4, "lips": 12, "mouth": 11, "hair": 17, "occluder": 0,
}  # fmt: skip
_TABLE = np.array([_OF_WORLD[name] for name in LABELS], np.uint8)


def of_world(regions: np.ndarray) -> np.ndarray:
    """Labels of a face-world picture: uint8 [H, W] index into `mien.faces.regions.LABELS` -> uint8 [H, W]."""
    return _TABLE[regions]


def blacked(labels: np.ndarray, mode: MaskMode) -> np.ndarray:
    """Which pixels the editor has to draw, bool [H, W], of labels [H, W]."""
    person = labels > 0
    return person if mode == "person" else person & ~np.isin(labels, KEPT)
