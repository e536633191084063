from __future__ import annotations

import numpy as np
import pytest

from mien.faces.sheet import contact_sheet


def _tile(value: int, height: int = 40, width: int = 48) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_every_picture_lies_on_the_sheet_in_order():
    values = [10, 60, 110, 160, 210]
    sheet = contact_sheet([_tile(v) for v in values], [f"t{v}" for v in values], 3)
    assert sheet.dtype == np.uint8
    places = []
    for value in values:
        rows, columns = np.nonzero((sheet == value).all(axis=2))
        assert len(rows) >= 40 * 48
        places.append((int(np.median(rows)), int(np.median(columns))))
    assert places[0][0] == places[1][0] == places[2][0] < places[3][0] == places[4][0]
    assert places[0][1] == places[3][1] < places[1][1] == places[4][1] < places[2][1]


def test_titles_are_drawn_and_long_ones_stay_in_their_cell():
    blank = contact_sheet([_tile(0)] * 2, ["", ""], 2)
    short = contact_sheet([_tile(0)] * 2, ["", "fear"], 2)
    long = contact_sheet([_tile(0)] * 2, ["", "x" * 400], 2)
    assert blank.shape == short.shape == long.shape
    assert (short != blank).any()
    middle = blank.shape[1] // 2
    assert (long[:, : middle - 3] == blank[:, : middle - 3]).all()
    assert (long[:, -5:] == blank[:, -5:]).all()


def test_mixed_sizes_and_more_columns_than_pictures():
    sheet = contact_sheet([_tile(0, 30, 20), _tile(90, 64, 64)], ["a", "b"], 9)
    assert (sheet == 90).all(axis=2).sum() >= 64 * 64
    assert sheet.shape[1] < 3 * 64


@pytest.mark.parametrize(("count", "titles", "columns"), [(0, 0, 1), (2, 1, 1), (1, 1, 0)])
def test_refuses_what_makes_no_sheet(count, titles, columns):
    with pytest.raises(ValueError, match="columns"):
        contact_sheet([_tile(0)] * count, ["t"] * titles, columns)
