"""Estimators of action units behind one interface: pictures to intensities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from mien.errors import DataError
from mien.estimators.described import Described
from mien.estimators.network import Network
from mien.estimators.opening import OfReader, opened
from mien.systems.editing.pair_rules import FULL, UNITS

if TYPE_CHECKING:
    from mien.systems.facereader.load import Reader


class UnitEstimator(Protocol):
    """Reads intensities; `name` states model and version, and is stored with every label."""

    name: str

    def __call__(self, pictures: Tensor) -> Tensor:
        """Intensities 0..5, float [N, 12] in the order of `pair_rules.UNITS`, of uint8 [N, 3, S, S] RGB.

        A row of NaN says that a face could not be read.
        """
        ...


class UnitsDescribed(Described):
    """A network of action units."""

    units: tuple[int | None, ...]
    """FACS numbers of its outputs in their order; null is not taken."""
    scale: float = Field(default=1.0, gt=0)
    """FACS levels of an output of 1: LibreFace gives fifths of the scale, so 5."""

    @field_validator("units")
    @classmethod
    def _whole(cls, value: tuple[int | None, ...]) -> tuple[int | None, ...]:
        named = [unit for unit in value if unit is not None]
        if missing := [f"AU{unit}" for unit in UNITS if unit not in named]:
            raise ValueError(f"lacks {', '.join(missing)}")
        if len(set(named)) < len(named):
            raise ValueError("names a unit twice")
        return value


class OnnxUnits:
    """Intensities from an ONNX file.

    Args:
        about: its description.

    Raises:
        DataError: as `Network`.
    """

    def __init__(self, about: UnitsDescribed) -> None:
        self._network, self._about = Network(about), about
        self._places = [about.units.index(unit) for unit in UNITS]
        self.name = self._network.name

    def __call__(self, pictures: Tensor) -> Tensor:
        """As `UnitEstimator`.

        Raises:
            DataError: if it gives another number of outputs than units were named.
        """
        rows = self._network(pictures)
        if rows.shape[1] != len(self._about.units):
            what = f"the network has {rows.shape[1]} outputs, `units` names {len(self._about.units)}"
            raise DataError(what, where=self._about.file, fix="name a unit or null for each output")
        return torch.from_numpy(self._about.scale * rows[:, self._places])


def open_units(source: str, reader: Reader, name: str) -> UnitEstimator:
    """Open an estimator.

    Args:
        source: "reader", "onnx:DESCRIPTION.yaml" (`UnitsDescribed`), or "MODULE:FUNCTION".
        reader: what "reader" means.
        name: of that.

    Raises:
        DataError: if it cannot be found, or is none.
    """
    own = OfReader(reader, name, "units")
    made: UnitEstimator = opened(source, "--units", own, UnitsDescribed, OnnxUnits)
    return made


def intensities(estimator: UnitEstimator, pictures: Tensor) -> np.ndarray:
    """What an estimator says, cut to 0..5; rows of NaN where it says nothing finite.

    Args:
        estimator: any.
        pictures: uint8 [N, 3, S, S].

    Returns:
        float32 [N, 12].

    Raises:
        DataError: if it gives numbers of another shape.
    """
    found = np.asarray(estimator(pictures), np.float32)
    if found.shape != (len(pictures), len(UNITS)):
        what = f"{len(pictures)} pictures give numbers of shape {[*found.shape]}"
        fix = f"return [N, {len(UNITS)}] in the order {', '.join(f'AU{unit}' for unit in UNITS)}"
        raise DataError(what, where=estimator.name, fix=fix)
    read = np.isfinite(found).all(1, keepdims=True)
    return np.where(read, np.clip(found, 0, FULL), np.nan).astype(np.float32)
