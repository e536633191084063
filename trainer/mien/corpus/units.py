"""Measures facial action units in a face: HOG features and ridge regression, fitted on synthetic faces.

The face is turned upright by five landmarks first, so crops of any frame are measured alike. The truth of a
photograph is not known; how well a meter fits is told for synthetic people never seen only.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mien.errors import DataError
from mien.faces.actions import ACTION_UNITS
from mien.faces.captions import VISIBLE

if TYPE_CHECKING:
    from mien.corpus.detect import Detector

SIDE, CELL = 96, 12
"""Pixels of the aligned face and of a HOG cell."""

FORMAT = "mien.units/2"
WEIGHTS, FACTS = "units.safetensors", "units.json"
"""Files of a meter."""

LARGEST = 64 << 20
"""Bytes of a meter's file at most."""

PLACES = ((0.32, 0.36), (0.68, 0.36), (0.5, 0.76))
"""Where eyes and middle of the mouth lie in the aligned face, as parts of its side."""

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Rec. 601 weights of red, green and blue."""

BLOCKS = SIDE // CELL - 1
FEATURES = BLOCKS * BLOCKS * 36
"""Length of a feature vector."""

UNEVEN = 0.1
"""Least difference of the sides' intensities, in [0, 1], that may be called one."""

_TENSORS = ("weights", "thresholds", "shares", "limits")
_FOUND_SIDE = 192

Matrix = npt.NDArray[np.float32]
Units = dict[int, tuple[float, float]]


def features_of(picture: bytes, points: npt.ArrayLike | None = None) -> Matrix:
    """HOG (Dalal and Triggs 2005) of the upright face, 9 orientations, blocks of 2 x 2 cells, float32 [1764].

    Args:
        picture: JPEG or PNG.
        points: five landmarks [5, 2] in its pixels, as of `mien.corpus.detect`; None: MTCNN finds them.

    Raises:
        DataError: if it cannot be decoded, or no face is found.
    """
    return hog_of(upright(picture, points))


def upright(picture: bytes, points: npt.ArrayLike | None = None) -> Matrix:
    """The grey face with eyes and mouth at fixed places, float32 [SIDE, SIDE] in [0, 1]; as `features_of`."""
    from mien.corpus.measure import averaged, move_of
    from mien.data.decode import decode

    image = np.ascontiguousarray(decode(picture).permute(1, 2, 0).numpy())
    found = find_points(image) if points is None else np.asarray(points, dtype=np.float32)
    face = averaged(image, move_of(found, SIDE, PLACES), SIDE)
    return (face.astype(np.float32) @ LUMA / 255).astype(np.float32)


def hog_of(grey: Matrix) -> Matrix:
    """Features of a grey face [SIDE, SIDE]."""
    from skimage.feature import hog

    found = hog(grey, orientations=9, pixels_per_cell=(CELL, CELL), cells_per_block=(2, 2))
    return found.astype(np.float32)


def find_points(image: npt.NDArray[np.uint8]) -> Matrix:
    """Five landmarks, float32 [5, 2] in pixels, of the surest face in a picture that one face fills.

    Raises:
        DataError: if there is none.
    """
    import cv2

    # The detector wants a border around the face, and does not see small ones well.
    scale = _FOUND_SIDE / max(image.shape[:2])
    border = _FOUND_SIDE // 4
    sized = cv2.resize(
        image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    found = _detector()(cv2.copyMakeBorder(sized, *(border,) * 4, cv2.BORDER_REPLICATE), _FOUND_SIDE * 0.35)
    if not len(found.boxes):
        raise DataError("no face in the picture", fix="give a crop of one face")
    return ((found.points[0] - border + 0.5) / scale - 0.5).astype(np.float32)


@cache
def _detector() -> Detector:
    from mien.corpus.detect import open_detector

    return open_detector("mtcnn")


@dataclass(frozen=True)
class Trust:
    """From where a meter's reading of a unit refutes a sentence, and is wrong as seldom as chosen.

    Attributes:
        low: a told presence is refuted by a stronger side below this.
        high: a told absence is refuted by a stronger side of this or more.
        lead: "more on one side" is refuted where that side leads by less; negative where the other side must
            lead by as much.

    `NEVER` has limits that no reading can pass.
    """

    low: float
    high: float
    lead: float


NEVER = Trust(-1.0, 2.0, -2.0)
"""A unit of which nothing is refuted."""


@dataclass(frozen=True)
class UnitMeter:
    """Linear readings of features, one for each side of each unit.

    Attributes:
        numbers: FACS numbers.
        weights: float32 [features + 1, 2 x units], left then right of each unit; the last row is added.
        thresholds: reading at which a side shows the unit, float32 [2 x units]; it is told as `VISIBLE`.
        shares: how much of the read difference of the sides is told, float32 [units] in [0, 1]; 0 makes the
            sides even, where what was read of people not fitted on was noise.
        limits: `Trust` of each unit, float32 [units, 3].
        facts: what it was fitted on and how.
    """

    numbers: tuple[int, ...]
    weights: Matrix
    thresholds: Matrix
    shares: Matrix
    limits: Matrix
    facts: dict[str, Any]

    @property
    def sha(self) -> str:
        """First 16 hex digits of the SHA-256 of all that decides a reading or a verdict."""
        import hashlib

        parts = (self.weights, self.thresholds, self.shares, self.limits)
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]

    @property
    def trust(self) -> dict[int, Trust]:
        """From where readings refute, by FACS number; a unit that is no key is not measured."""
        return {number: Trust(*row) for number, row in zip(self.numbers, self.limits.tolist(), strict=True)}

    def __call__(self, picture: bytes, points: npt.ArrayLike | None = None) -> Units:
        """Intensity of (left, right) in [0, 1] by FACS number, sides as the person's own; as `features_of`.

        Raises:
            DataError: if the picture cannot be decoded, or no face is found.
        """
        return self.units(self.measure(features_of(picture, points)[None])[0])

    def measure(self, features: Matrix) -> Matrix:
        """Intensities float32 [N, units, 2] in [0, 1] of features [N, features]."""
        raw = features @ self.weights[:-1] + self.weights[-1]
        sides = told(raw, self.thresholds).reshape(len(raw), len(self.numbers), 2)
        return even(sides, self.shares)

    def units(self, intensities: Matrix) -> Units:
        """One row of `measure` by FACS number."""
        rows = zip(self.numbers, intensities.tolist(), strict=True)
        return {number: (left, right) for number, (left, right) in rows}


def told(raw: Matrix, thresholds: Matrix) -> Matrix:
    """Readings stretched piecewise linearly so that a threshold becomes `VISIBLE`, cut to [0, 1].

    Ridge regression draws readings towards the mean, so a face that shows a unit reads lower than it is.
    """
    below = raw / thresholds * VISIBLE
    above = VISIBLE + (raw - thresholds) / (1 - thresholds) * (1 - VISIBLE)
    return np.clip(np.where(raw < thresholds, below, above), 0, 1).astype(np.float32)


def even(sides: Matrix, shares: Matrix) -> Matrix:
    """Sides [N, units, 2] whose difference is cut to `shares` of it; the stronger one stays as it is."""
    strong = sides.max(2, keepdims=True)
    return (strong - (strong - sides) * shares[:, None]).astype(np.float32)


def save_meter(meter: UnitMeter, out: Path) -> None:
    """Write a meter as the folder `out`, whole or not at all.

    Raises:
        DataError: if `out` is in use or cannot be written.
    """
    from safetensors.numpy import save_file

    from mien.data.staging import staged

    with staged(out) as folder:
        save_file({name: getattr(meter, name) for name in _TENSORS}, folder / WEIGHTS)
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
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("damaged meter: facts are missing", where=folder, fix=fix) from error
    if not same or not numbers or not set(numbers) <= set(ACTION_UNITS):
        raise DataError("a meter of another version", where=folder, fix=fix)
    count = len(numbers)
    shapes = {
        "weights": (FEATURES + 1, 2 * count),
        "thresholds": (2 * count,),
        "shares": (count,),
        "limits": (count, 3),
    }
    plain = {name: tensor.shape for name, tensor in tensors.items()} == shapes and all(
        tensor.dtype == np.float32 and np.isfinite(tensor).all() for tensor in tensors.values()
    )
    meter = UnitMeter(numbers, **tensors, facts=fit) if plain else None
    if meter is None or not _in_range(meter) or meter.sha != sha:
        raise DataError("damaged meter: weights are not those it was saved with", where=folder, fix=fix)
    return meter


def _in_range(meter: UnitMeter) -> bool:
    low, high = meter.thresholds.min(), meter.thresholds.max()
    return bool(0 < low <= high < 1 and meter.shares.min() >= 0 and meter.shares.max() <= 1)
