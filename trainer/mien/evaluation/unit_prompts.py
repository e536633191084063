"""Action units by pairs of prompts: one side says that the unit is present, the other that it is absent."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import Field, ValidationError

from mien.config import Config
from mien.errors import DataError
from mien.evaluation.encoding import embed_texts, unit
from mien.systems.encoder import Encoder


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


def load_units(source: str | Path | None = None) -> dict[int, UnitPrompts]:
    """Pairs by FACS number, rising; the packaged ones (`prompts/units.yaml`) when None.

    Raises:
        DataError: when the file is absent or malformed.
    """
    path: Any = (
        Path(source) if source is not None else resources.files("mien.evaluation") / "prompts/units.yaml"
    )
    try:
        found = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"no unit prompts: {reason}", where=path, fix="see prompts/units.yaml") from error
    return dict(sorted(found.units.items()))


def unit_probabilities(
    encoder: Encoder, images: npt.NDArray[np.floating], units: dict[int, UnitPrompts]
) -> npt.NDArray[np.float64]:
    """Softmax of each pair, [N, U] in (0, 1), for unit image vectors [N, D]; columns as `units`."""
    sides = [
        np.stack([unit(embed_texts(encoder, texts).mean(0)) for texts in side])
        for side in ([pair.present for pair in units.values()], [pair.absent for pair in units.values()])
    ]
    apart = encoder.logit_scale * (images.astype(np.float64) @ (sides[0] - sides[1]).T)
    return 1 / (1 + np.exp(-apart))
