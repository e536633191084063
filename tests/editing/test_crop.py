"""The crop lands where hand computation says, for any canvas, and comes back to the same place."""

from __future__ import annotations

import numpy as np
import pytest

from mien.editing.crop import crop_face, largest
from mien.errors import DataError

HEIGHT, WIDTH = 300, 400
BOX = (150, 90, 88, 110)
"""Centre (194, 145); square of side 132; the canvas shows 192 pixels from (98, 49) on."""


def noise(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def blob(x: float, y: float, sigma: float, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A soft spot whose centre of mass is (x, y)."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    values = 250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.repeat(np.rint(values).astype(np.uint8)[..., None], 3, axis=2)


def centre(values: np.ndarray) -> np.ndarray:
    weights = values[..., 0].astype(np.float64)
    rows, columns = np.mgrid[: weights.shape[0], : weights.shape[1]] + 0.5
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()


def test_matrix_of_the_release_canvas():
    crop = crop_face(noise(), BOX, 512)
    expected = [[8 / 3, 0, -98 * 8 / 3], [0, 8 / 3, -49 * 8 / 3]]
    assert np.allclose(crop.matrix, expected, atol=1e-12)
    assert crop.scale == pytest.approx(234.6666667 / 88)
    square = [(194 - 66, 145 - 66), (194 + 66, 145 + 66), (194, 145)]
    assert np.allclose(crop.to_canvas(square), [(80, 80), (432, 432), (256, 256)])
    assert np.allclose(crop.to_photo(crop.to_canvas([(3.25, 7.5)])), [(3.25, 7.5)])
    assert (crop.canvas.shape, crop.canvas.dtype, crop.notes) == ((512, 512, 3), np.uint8, ())
    assert not crop.outside.any()


@pytest.mark.parametrize("size", [64, 192, 256, 768])
def test_any_canvas_shows_the_same_part(size):
    crop = crop_face(noise(), BOX, size)
    assert np.allclose(crop.to_photo([(0, 0), (size, size)]), [(98, 49), (290, 241)])
    assert crop.covered == (slice(49, 241), slice(98, 290))


def test_pixels_are_those_of_the_photo_where_the_scale_is_one():
    photo = noise()
    crop = crop_face(photo, BOX, 192)
    assert (crop.canvas == photo[49:241, 98:290]).all()
    assert (crop.back(crop.canvas) == photo[49:241, 98:290]).all()


def test_width_decides_unless_the_longer_side_is_asked_for():
    assert crop_face(noise(), (150, 90, 88, 50)).scale == crop_face(noise(), (150, 60, 88, 110)).scale
    assert crop_face(noise(), BOX, side="longer").scale == pytest.approx(234.6666667 / 110)


def test_largest_is_by_area():
    """The release compared width * bottom - top, which takes the low one."""
    assert largest([(0, 10, 40, 40), (0, 250, 30, 30), (0, 0, 45, 10)]) == 0


@pytest.mark.parametrize("box", [(10, 10, 88, 88), (300, 200, 88, 88), (130, 80, 170, 170), (1, 1, 390, 390)])
def test_outside_is_mirrored_marked_and_told(box):
    photo = noise()
    x, y = box[0] + box[2] / 2, box[1] + box[2] / 2
    reach = 1.5 * box[2] * 512 / 352
    size = round(reach)
    pad = 600
    crop = crop_face(photo, box, size)
    left, top = x - reach / 2, y - reach / 2
    places = (np.arange(size) + 0.5) * reach / size
    rows, columns = (
        (top + places > 0) & (top + places < HEIGHT),
        (left + places > 0) & (left + places < WIDTH),
    )
    assert (crop.outside == ~(rows[:, None] & columns)).all()
    assert "surroundings" in crop.notes[-1]
    assert len(crop.notes) == 1 + bool(crop.outside[size // 6 : -size // 6, size // 6 : -size // 6].any())
    if reach == size and left % 1 == 0:
        mirrored = np.pad(photo, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
        y, x = int(top) + pad, int(left) + pad
        assert (crop.canvas == mirrored[y : y + size, x : x + size]).all()
    assert (crop.canvas == 0).all(axis=2).mean() < 0.001  # black would look like the mask of a person


def test_two_percent_of_the_surroundings_is_the_limit():
    """The surroundings are 1 - 0.6875 ** 2 of the canvas; a strip of n columns outside is n / 192 of it."""
    photo = noise()
    for beyond, told in ((1, False), (2, False), (3, True)):
        crop = crop_face(photo, (52 - beyond, 90, 88, 110), 192)
        assert crop.outside.sum() == beyond * 192
        assert bool(crop.notes) is told


@pytest.mark.parametrize("size", [96, 200, 512])
@pytest.mark.parametrize("box", [(150.3, 90.7, 88, 110), (120.1, 61.9, 133.7, 150), (20.5, 11.2, 60.3, 70)])
def test_places_are_kept_to_a_part_of_a_pixel_forth_and_back(size, box):
    point = np.array([box[0] + 0.37 * box[2], box[1] + 0.61 * box[3]])
    photo = blob(*point, sigma=6)
    crop = crop_face(photo, box, size)
    assert np.abs(centre(crop.canvas) - crop.to_canvas(point)).max() < 0.03 * max(1, crop.scale)
    rows, columns = crop.covered
    returned = crop.back(crop.canvas)
    assert returned.shape[:2] == (rows.stop - rows.start, columns.stop - columns.start)
    assert np.abs(centre(returned) + np.array([columns.start, rows.start]) - point).max() < 0.03
    if crop.scale > 1:
        assert np.abs(returned - photo[crop.covered]).max() < 12


def test_a_huge_face_on_a_small_canvas_is_averaged_in_place():
    photo = blob(1700.4, 900.7, 60, 2400, 3000)
    crop = crop_face(photo, (600, 300, 1500, 1700), 64)
    assert np.abs(centre(crop.canvas) - crop.to_canvas((1700.4, 900.7))).max() < 0.03
    checks = np.indices((1200, 1200)).sum(0) % 2 * 255
    photo = np.repeat(checks.astype(np.uint8)[..., None], 3, axis=2)
    assert np.abs(crop_face(photo, (300, 300, 500, 500), 64).canvas.astype(int) - 127).max() <= 2


def test_whole_takes_all_of_the_picture():
    photo = noise(64, 64)
    crop = crop_face(photo, None, 64, whole=True)
    assert (crop.canvas == photo).all()
    assert np.allclose(crop.matrix, [[1, 0, 0], [0, 1, 0]])
    assert crop.covered == (slice(0, 64), slice(0, 64))
    assert crop.notes == ()
    assert crop_face(photo, None, 96, whole=True).scale == 1.5


def test_whole_of_an_oblong_picture_is_mirrored_at_its_longer_sides():
    photo = noise(40, 64)
    crop = crop_face(photo, None, 64, whole=True)
    assert (crop.canvas[12:52] == photo).all()
    assert (crop.canvas[:12] == photo[12:0:-1]).all()
    assert (crop.outside.all(axis=1) == (np.abs(np.arange(64) - 31.5) > 20)).all()
    assert crop.notes
    assert (crop.back(crop.canvas) == photo).all()


@pytest.mark.parametrize(
    ("box", "what"),
    [
        (None, "no face found"),
        ((0, 0, 5, 90), "less than 8 pixels"),
        ((0, 0, float("nan"), 90), "less than 8 pixels"),
        ((1e9, 0, 90, 90), "does not lie in the photo"),
        ((-300, 0, 90, 90), "does not lie in the photo"),
        ((-1000, -1000, 2400, 2400), "does not lie in the photo"),
    ],
)
def test_a_box_of_no_use_is_told(box, what):
    with pytest.raises(DataError, match=what) as caught:
        crop_face(noise(), box)
    assert caught.value.fix
