"""A sheet shows each edit where its row and column say, unharmed, at any size."""

from __future__ import annotations

import numpy as np
import pytest

from mien.editing.strip import CELL, LARGEST, edit_strip


def tile(value: int, height: int = 64, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def places(sheet: np.ndarray, value: int) -> tuple[np.ndarray, np.ndarray]:
    return np.nonzero((sheet == value).all(axis=2))


@pytest.mark.parametrize(("size", "shown"), [(64, 192), (100, 200), (160, 160), (256, 256), (512, 512)])
def test_pictures_lie_in_rows_and_columns_at_a_whole_factor(size, shown):
    values = [[20, 75, 90], [105, 135, 150]]
    edits = [[tile(value, size, size) for value in row] for row in values]
    sheet = edit_strip(tile(10, size, size), edits, ["AU1", "AU12"], ["+1", "+2", "+3"])
    assert sheet.dtype == np.uint8
    assert len(places(sheet, 10)[0]) == 2 * shown**2
    corners = np.array([[[n.min() for n in places(sheet, value)] for value in row] for row in values])
    for row in values:
        for value in row:
            assert len(places(sheet, value)[0]) == shown**2
    assert (np.diff(corners[..., 0], axis=1) == 0).all()
    assert (np.diff(corners[..., 1], axis=0) == 0).all()
    assert (np.diff(corners[..., 1], axis=1) == shown + 6).all()
    assert places(sheet, 10)[1].max() < corners[0, 0, 1]


def test_small_pictures_keep_their_pixels():
    face = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    sheet = edit_strip(face, [[face]], ["row"], ["column"])
    grown = face.repeat(3, axis=0).repeat(3, axis=1)
    windows = [sheet[y : y + 192, x : x + 192] for y in range(60) for x in range(120)]
    assert any(window.shape == grown.shape and (window == grown).all() for window in windows)


def test_large_pictures_are_made_smaller_and_oblong_ones_kept_in_shape():
    sheet = edit_strip(tile(10, 2000, 1000), [[tile(90, 2000, 1000)]], ["a"], ["b"])
    rows, columns = places(sheet, 90)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (LARGEST, LARGEST // 2)


def test_titles_stay_off_the_pictures_however_long():
    edits = [[tile(20), tile(75)], [tile(90), tile(105)]]
    for text in ("AU1", "AU6 cheek raiser + AU12 lip corner puller " * 3, "x" * 400, "", "a\nb"):
        sheet = edit_strip(tile(10), edits, [text, text], [text, text], title=text, note=text, first=text)
        for value in (20, 75, 90, 105):
            assert len(places(sheet, value)[0]) == 192**2
        assert (sheet[:, :5] == sheet[0, 0]).all()
        assert (sheet[:, -5:] == sheet[0, 0]).all()


def test_every_title_is_drawn():
    edits = [[tile(20)]]
    bare = edit_strip(tile(10), edits, ["--"], [""], first="")
    for words in ({"first": "original"}, {"columns": ["+3"]}):
        arguments = {"columns": [""], "first": "", **words}
        assert (edit_strip(tile(10), edits, ["--"], **arguments) != bare).any()
    assert edit_strip(tile(10), edits, ["--"], [""], title="t").shape[0] > bare.shape[0]
    assert edit_strip(tile(10), edits, ["--"], [""], note="n").shape[0] > bare.shape[0]


def test_minus_sign_is_a_letter_that_the_font_has():
    edits = [[tile(20)]]
    assert (edit_strip(tile(10), edits, ["a"], ["−3"]) == edit_strip(tile(10), edits, ["a"], ["-3"])).all()


def test_small_cells_are_at_least_readable():
    assert edit_strip(tile(10), [[tile(20)]], ["a"], ["b"]).shape[1] > 2 * CELL


def test_wrong_counts_and_sizes():
    with pytest.raises(ValueError, match="titles"):
        edit_strip(tile(10), [[tile(20)]], ["a", "b"], ["c"])
    with pytest.raises(ValueError, match="titles"):
        edit_strip(tile(10), [[tile(20)]], ["a"], ["c", "d"])
    with pytest.raises(ValueError, match="titles"):
        edit_strip(tile(10), [], [], [])
    with pytest.raises(ValueError, match="sizes"):
        edit_strip(tile(10), [[tile(20, 65)]], ["a"], ["c"])
