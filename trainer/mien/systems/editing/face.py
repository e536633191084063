"""What an editor needs to know of the photo that it edits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Face:
    """A square picture of one face and what is known of it.

    Attributes:
        picture: uint8 [S, S, 3].
        labels: uint8 [S, S], what its pixels show, see `parsing.CLASSES`.
        jaw: float [17, 2], (x, y) in pixels.
        jaw_rest: the same without the expression: the pose alone.
        units: float [12], intensities 0..5 as `pair_rules.UNITS`; None where nobody has read them.
    """

    picture: np.ndarray
    labels: np.ndarray
    jaw: np.ndarray
    jaw_rest: np.ndarray
    units: np.ndarray | None = None
