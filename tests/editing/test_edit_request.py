"""What a person asks for, as numbers."""

from __future__ import annotations

import numpy as np
import pytest

from mien.editing.request import describe, parse_strengths, parse_units
from mien.errors import MienError
from mien.systems.editing.pair_rules import UNITS


def test_changes_land_at_their_units() -> None:
    vector = parse_units(["AU12=+3", "au4 = -1.5,26=.5", "AU01=2"])
    wanted = {12: 3, 4: -1.5, 26: 0.5, 1: 2}
    assert {unit: float(value) for unit, value in zip(UNITS, vector, strict=True) if value} == wanted
    assert vector.dtype == np.float32
    assert describe(vector) == "AU1 +2, AU4 -1.5, AU12 +3, AU26 +0.5"
    assert describe(np.zeros(12, np.float32)) == "no change"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("AU12", "is no change: write a unit"),
        ("AU12=much", "is no change"),
        ("AU12=nan", "is no change"),
        ("AU12=", "is no change"),
        ("AU13=1", "no editor moves AU13: did you mean AU1"),
        ("AU99=1", "no editor moves AU99: .*12 lip corner puller"),
        ("AU12=1,12=2", "AU12 is named twice"),
        ("AU12=11", "AU12 by 11: stay within 10"),
    ],
)
def test_what_is_misspelt_is_told(text: str, said: str) -> None:
    with pytest.raises(MienError) as told:
        parse_units([text])
    assert str(told.value).startswith("--au: ")
    with pytest.raises(MienError, match=said.replace(": ", ".*")):
        parse_units([text])


def test_strengths() -> None:
    assert parse_strengths("0,0.5,-1") == (0, 0.5, -1)
    for text in ("", "1,x", "1,nan", ",".join(["1"] * 25), "99"):
        with pytest.raises(MienError, match="--strengths"):
            parse_strengths(text)
