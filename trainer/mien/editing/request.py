"""What a person asks for: `AU12=+3` as a vector."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.faces.actions import ACTION_UNITS
from mien.systems.editing.pair_rules import FULL, UNITS

STRONGEST = 10.0
"""Largest change that is taken; training never exceeds 5 (magicface spec, 5)."""

_FORM = re.compile(r"\s*(?:AU)?\s*0*(\d{1,3})\s*=\s*([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)\s*", re.IGNORECASE)


def parse_units(texts: Sequence[str], where: str = "--au") -> NDArray[np.float32]:
    """Differences float32 [12] in FACS levels, as `UNITS`; units that are not named stay.

    Args:
        texts: such as `AU12=+3` or `4=-1.5`; one may hold several with commas between.
        where: for messages.

    Raises:
        MienError: for text of another form, a unit that editors do not know or that is named twice, or a
            change beyond `STRONGEST`.
    """
    vector, named = np.zeros(len(UNITS), np.float32), set()
    for text in [part for whole in texts for part in whole.split(",")]:
        found = _FORM.fullmatch(text)
        if found is None:
            raise MienError(f"{text!r} is no change", where=where, fix="write a unit and a change: AU12=+3")
        unit, change = int(found[1]), float(found[2])
        if unit not in UNITS:
            raise MienError(f"no editor moves AU{unit}", where=where, fix=_nearest(unit))
        if unit in named:
            raise MienError(f"AU{unit} is named twice", where=where, fix="name each unit once")
        if abs(change) > STRONGEST:
            fix = f"stay within {STRONGEST:g}; a face shows 0 to {FULL:g}"
            raise MienError(f"AU{unit} by {change:g}", where=where, fix=fix)
        named.add(unit)
        vector[UNITS.index(unit)] = change
    return vector


def parse_strengths(text: str, where: str = "--strengths") -> tuple[float, ...]:
    """Multiples with commas between, such as `0,0.5,1`.

    Raises:
        MienError: for text that is none, or more than 24 of them.
    """
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise MienError(f"{text!r} are no numbers", where=where, fix="write 0,0.5,1") from error
    if not all(abs(number) <= STRONGEST for number in found) or len(found) > 24:
        raise MienError("too many or too large", where=where, fix=f"give up to 24 within {STRONGEST:g}")
    return found


def describe(vector: NDArray[np.float32]) -> str:
    """The same in words, such as `AU12 +3, AU4 -1`; `no change` for zero."""
    moved = [f"AU{unit} {value:+g}" for unit, value in zip(UNITS, vector.tolist(), strict=True) if value]
    return ", ".join(moved) or "no change"


def _nearest(unit: int) -> str:
    known = [f"AU{number}" for number in UNITS]
    close = difflib.get_close_matches(f"AU{unit}", known, n=1)
    names = ", ".join(f"{number} {ACTION_UNITS[number].name}" for number in UNITS)
    return (f"did you mean {close[0]}? " if close else "") + f"there are {names}"
