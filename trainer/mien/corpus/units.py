"""Measures facial action units in a face crop: HOG features and ridge regression, fitted on synthetic faces.

The truth of a photograph is not known; how well a meter fits is told for synthetic people never seen only.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.errors import DataError
from mien.faces.actions import ACTION_UNITS
from mien.faces.captions import VISIBLE

SIDE, CELL = 96, 12
"""Pixels of the picture and of a HOG cell."""

FORMAT = "mien.units/1"
WEIGHTS, FACTS = "units.safetensors", "units.json"
"""Files of a meter."""

LARGEST = 64 << 20
"""Bytes of a meter's file at most."""

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Rec. 601 weights of red, green and blue."""

Matrix = npt.NDArray[np.float32]
Units = dict[int, tuple[float, float]]


def features_of(picture: bytes) -> Matrix:
    """HOG (Dalal and Triggs 2005) of a JPEG or PNG, 9 orientations, blocks of 2 x 2 cells, float32 [1764].

    Raises:
        DataError: if it cannot be decoded.
    """
    from skimage.feature import hog
    from torchvision.transforms.v2 import functional as vision

    from mien.data.decode import decode

    image = vision.resize(decode(picture), [SIDE, SIDE], antialias=True)
    grey = np.einsum("chw,c->hw", image.numpy(), LUMA) / 255
    found = hog(grey, orientations=9, pixels_per_cell=(CELL, CELL), cells_per_block=(2, 2))
    return found.astype(np.float32)


@dataclass(frozen=True)
class UnitMeter:
    """Linear readings of features, one for each side of each unit.

    Attributes:
        numbers: FACS numbers.
        weights: float32 [features + 1, 2 x units], left then right of each unit; the last row is added.
        thresholds: reading at which a side shows the unit, float32 [2 x units]; it is told as `VISIBLE`.
        facts: what it was fitted on and how.
    """

    numbers: tuple[int, ...]
    weights: Matrix
    thresholds: Matrix
    facts: dict[str, Any]

    @property
    def sha(self) -> str:
        """First 16 hex digits of the SHA-256 of weights and thresholds."""
        import hashlib

        return hashlib.sha256(self.weights.tobytes() + self.thresholds.tobytes()).hexdigest()[:16]

    def __call__(self, picture: bytes) -> Units:
        """Intensity of (left, right) in [0, 1] by FACS number, sides as the person's own.

        Raises:
            DataError: if the picture cannot be decoded.
        """
        return self.units(self.measure(features_of(picture)[None])[0])

    def measure(self, features: Matrix) -> Matrix:
        """Intensities float32 [N, units, 2] in [0, 1] of features [N, features]."""
        raw = features @ self.weights[:-1] + self.weights[-1]
        return told(raw, self.thresholds).reshape(len(raw), len(self.numbers), 2)

    def units(self, intensities: Matrix) -> Units:
        """One row of `measure` by FACS number; sides of a unit that is not lateral are made equal."""
        found: Units = {}
        for number, (left, right) in zip(self.numbers, intensities.tolist(), strict=True):
            if not ACTION_UNITS[number].lateral:
                left = right = max(left, right)
            found[number] = (left, right)
        return found


def told(raw: Matrix, thresholds: Matrix) -> Matrix:
    """Readings stretched piecewise linearly so that a threshold becomes `VISIBLE`, cut to [0, 1].

    Ridge regression draws readings towards the mean, so a face that shows a unit reads lower than it is.
    """
    below = raw / thresholds * VISIBLE
    above = VISIBLE + (raw - thresholds) / (1 - thresholds) * (1 - VISIBLE)
    return np.clip(np.where(raw < thresholds, below, above), 0, 1).astype(np.float32)


def save_meter(meter: UnitMeter, out: Path) -> None:
    """Write a meter as the folder `out`, whole or not at all.

    Raises:
        DataError: if `out` is in use or cannot be written.
    """
    from safetensors.numpy import save_file

    from mien.data.staging import staged

    with staged(out) as folder:
        save_file({"weights": meter.weights, "thresholds": meter.thresholds}, folder / WEIGHTS)
        facts = {"format": FORMAT, "units": list(meter.numbers), "side": SIDE, "cell": CELL}
        facts |= {"sha": meter.sha, "fit": meter.facts}
        (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def load_meter(folder: Path) -> UnitMeter:
    """A meter from its folder.

    Raises:
        DataError: if files are missing, too large or damaged, or do not fit each other or this version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    fix = "fit it again: mien data emocap units fit"
    try:
        for name in (WEIGHTS, FACTS):
            if os.path.getsize(folder / name) > LARGEST:
                raise DataError(f"{name} of more than {LARGEST} bytes", where=folder, fix=fix)
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except OSError as error:
        raise DataError(f"no meter: {error.strerror or error}", where=folder, fix=fix) from error
    except (ValueError, RecursionError, SafetensorError) as error:
        raise DataError(f"damaged meter: {str(error)[:100]}", where=folder, fix=fix) from error
    return _checked(folder, facts, tensors, fix)


def _checked(folder: Path, facts: Any, tensors: dict[str, Any], fix: str) -> UnitMeter:
    try:
        same = (facts["format"], facts["side"], facts["cell"]) == (FORMAT, SIDE, CELL)
        numbers, sha, fit = tuple(facts["units"]), facts["sha"], dict(facts["fit"])
        weights, thresholds = tensors["weights"], tensors["thresholds"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("damaged meter: facts are missing", where=folder, fix=fix) from error
    if not same or not numbers or not set(numbers) <= set(ACTION_UNITS):
        raise DataError("a meter of another version", where=folder, fix=fix)
    blocks = SIDE // CELL - 1
    shapes = (weights.shape, thresholds.shape)
    fits = shapes == ((blocks * blocks * 36 + 1, 2 * len(numbers)), (2 * len(numbers),))
    plain = fits and all(a.dtype == np.float32 and np.isfinite(a).all() for a in (weights, thresholds))
    meter = UnitMeter(numbers, weights, thresholds, fit)
    if not plain or not (0 < thresholds.min() <= thresholds.max() < 1) or meter.sha != sha:
        raise DataError("damaged meter: weights are not those it was saved with", where=folder, fix=fix)
    return meter
