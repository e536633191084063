"""Action units by pairs of prompts: one side says that the unit is present, the other that it is absent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import Field, ValidationError
from scipy.special import expit

from mien.config import Config
from mien.errors import DataError
from mien.evaluation.encoding import centres
from mien.systems.encoder import Encoder

Floats = npt.NDArray[np.floating]
Centre = Callable[[Encoder, Sequence[Sequence[str]]], Floats]
"""(encoder, texts of each side) -> one vector a side, [U, D]."""


class UnitPrompts(Config):
    """The two sides of one action unit."""

    name: str
    """Name of the unit in FACS."""
    present: list[str] = Field(min_length=1)
    """Texts that say it is there."""
    absent: list[str] = Field(min_length=1)
    """Texts that say it is not."""


class _File(Config):
    units: dict[int, UnitPrompts] = Field(min_length=1)


def load_units(source: str | Path | None = None, only: Sequence[int] | None = None) -> dict[int, UnitPrompts]:
    """Pairs by FACS number; the packaged ones (`prompts/units.yaml`) when None.

    Args:
        source: file of pairs.
        only: units wanted, in the order of the answer; None takes all, rising.

    Raises:
        DataError: when the file is absent or malformed, or lacks a unit that is wanted.
    """
    path: Any = (
        Path(source) if source is not None else resources.files("mien.evaluation") / "prompts/units.yaml"
    )
    try:
        found = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"no unit prompts: {reason}", where=path, fix="see prompts/units.yaml") from error
    wanted = sorted(found.units) if only is None else only
    for number in wanted:
        if number not in found.units:
            raise DataError(f"AU{number} has no prompts", where=path, fix="add its muscle action there")
    return {number: found.units[number] for number in wanted}


def units_hash(units: dict[int, UnitPrompts]) -> str:
    """SHA-256 of every string that reaches the text tower, unit by unit and side by side."""
    content = {number: [pair.present, pair.absent] for number, pair in units.items()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def unit_probabilities(
    encoder: Encoder, images: Floats, units: dict[int, UnitPrompts], centre: Centre = centres
) -> npt.NDArray[np.float64]:
    """Softmax of each pair, [N, U] in (0, 1), for unit image vectors [N, D]; columns as `units`.

    Args:
        encoder: its scale and its texts.
        images: unit vectors, [N, D].
        units: pairs of texts.
        centre: how the texts of a side become one vector.
    """
    present = centre(encoder, [pair.present for pair in units.values()])
    absent = centre(encoder, [pair.absent for pair in units.values()])
    found: npt.NDArray[np.float64] = expit(
        encoder.logit_scale * (images.astype(np.float64) @ (present - absent).T)
    )
    return found
