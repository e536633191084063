"""Captions without a model of language: measured action units put into the face world's grammar.

The sentences are as true as the measured units; the emotion is a guess from the prototypes of each emotion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.corpus.caption import Captioned, CaptionError, check_caption
from mien.corpus.units import UnitMeter, load_meter
from mien.errors import DataError
from mien.faces.actions import ACTION_UNITS, Actions
from mien.faces.captions import VISIBLE, describe
from mien.faces.emotions import EMOTIONS, Expression
from mien.faces.prototypes import BASIC_FAMILIES

ALIKE = 0.35
"""Least cosine between a face and a prototype that names the emotion; below, the face is told as neutral."""


class OfflineCaptioner:
    """Writes captions from action units; threads may share it.

    Args:
        meter: measures pictures that come without units; None: units must come with each picture.
    """

    name = "mien.offline"

    def __init__(self, meter: UnitMeter | None = None) -> None:
        self._meter = meter
        words = resources.files("mien.faces").joinpath("captions_actions.yaml").read_bytes()
        made_of = words + (meter.sha if meter else "").encode()
        self.prompt_sha = hashlib.sha256(made_of).hexdigest()[:16]

    def __call__(self, picture: bytes, units: Mapping[int, tuple[float, float]] | None = None) -> Captioned:
        """The caption of a picture; the same picture and units give the same caption.

        Args:
            picture: JPEG or PNG; seeds the choice of words, and is measured where units are None.
            units: intensity of (left, right) in [0, 1] by FACS number; unknown numbers are left out.

        Raises:
            CaptionError: reason `units` without units and meter, `picture` for one that cannot be decoded,
                `schema` where too little can be said.
        """
        if units is None:
            units = self.measure(picture)
        seed = int.from_bytes(hashlib.sha256(picture).digest()[:8], "big")
        expression = expression_of(units)
        caption = describe(expression, np.random.default_rng(seed), None, None)
        return Captioned(check_caption(caption.record()))

    def measure(self, picture: bytes) -> Mapping[int, tuple[float, float]]:
        """The meter's word on a picture.

        Raises:
            CaptionError: as for a call.
        """
        if self._meter is None:
            fix = "give a meter, as `mien data emocap units fit` writes it"
            raise CaptionError("no action units and no meter", reason="units", fix=fix)
        try:
            return self._meter(picture)
        except DataError as error:
            raise CaptionError(error.what, reason="picture", where=error.where, fix=error.fix) from error


def open_offline(meter: Path | None = None) -> OfflineCaptioner:
    """The captioner with the meter of a folder.

    Raises:
        DataError: as `load_meter`.
    """
    return OfflineCaptioner(load_meter(meter) if meter else None)


def expression_of(units: Mapping[int, tuple[float, float]]) -> Expression:
    """Measured units as an expression: emotion by the nearest prototype, intensity of its strongest units.

    Args:
        units: intensity of (left, right) in [0, 1] by FACS number.
    """
    known = {number: sides for number, sides in units.items() if number in ACTION_UNITS}
    actions = Actions({n: s[0] for n, s in known.items()}, {n: s[1] for n, s in known.items()})
    seen = np.array([actions.intensity(n) if actions.intensity(n) >= VISIBLE else 0.0 for n in ACTION_UNITS])
    emotion, alike = "neutral", ALIKE
    for name, prototypes in _prototypes().items():
        best = float((prototypes @ seen).max() / max(float(np.linalg.norm(seen)), 1e-9))
        if best > alike:
            emotion, alike = name, best
    strongest = np.sort(seen)[-3:]
    strength = float(strongest[strongest > 0].mean()) if strongest.any() else 0.0
    return Expression(emotion, strength, actions)


@cache
def _prototypes() -> dict[str, npt.NDArray[np.float64]]:
    """Unit vectors over `ACTION_UNITS` of the expected intensities of each family, [families, units]."""
    made = {}
    for emotion in EMOTIONS[1:]:
        rows = []
        for family in BASIC_FAMILIES[emotion]:
            means = dict(family.core) | {u: p * s for u, (p, s) in family.optional.items()}
            for choice in family.one_of:
                means |= {u: s / len(choice) for u, s in choice.items()}
            row = np.array([means.get(number, 0.0) for number in ACTION_UNITS])
            rows.append(row / np.linalg.norm(row))
        made[emotion] = np.stack(rows)
    return made
