"""An edit comes back under a soft mask, and not one level changes elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from test_crop import BOX, HEIGHT, WIDTH, noise

from mien.editing.composite import REACH, composite
from mien.editing.crop import crop_face


def disc(size: int, radius: float = 0.25) -> np.ndarray:
    y, x = (np.indices((size, size)) + 0.5) / size - 0.5
    return x**2 + y**2 <= radius**2


@pytest.mark.parametrize("size", [96, 192, 384])
@pytest.mark.parametrize(("dilate", "feather"), [(0.03, 0.01), (0.0, 0.0), (0.1, 0.05), (0.0, 0.03)])
@pytest.mark.parametrize("match_rim", [False, True])
def test_nothing_outside_the_mask_changes(size, dilate, feather, match_rim):
    photo, mask = noise(), disc(size)
    crop = crop_face(photo, BOX, size)
    edited = 255 - crop.canvas
    done = composite(photo, crop, edited, mask, dilate=dilate, feather=feather, match_rim=match_rim)
    assert (done.pixels[done.mask == 0] == photo[done.mask == 0]).all()
    assert done.mask.min() == 0
    assert done.mask.max() <= 1
    # Where the mask may end, by another way: the distance to the disc in the photo.
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    distance = np.hypot(columns - 194, rows - 145) - 0.25 * 192
    far = distance > (dilate + REACH * feather) * 192 + 2.5 * max(1, 192 / size)
    assert (done.mask[far] == 0).all()
    assert (done.pixels[far] == photo[far]).all()
    deep = distance < (dilate - REACH * feather) * 192 - 3 * max(1, 192 / size)
    assert (done.mask[deep] > 0.999).all()


def test_inside_the_mask_lies_the_edit():
    photo = noise()
    crop = crop_face(photo, BOX, 192)
    edited = np.random.default_rng(1).integers(0, 256, crop.canvas.shape, dtype=np.uint8)
    done = composite(photo, crop, edited, disc(192))
    full = done.mask == 1
    assert full.sum() > 6000
    assert (done.pixels[49:241, 98:290][full[49:241, 98:290]] == edited[full[49:241, 98:290]]).all()
    some = (done.mask > 0) & (done.mask < 1)
    share = done.mask[some][:, None]
    rows, columns = np.nonzero(some)
    mixed = photo[some] * (1 - share) + edited[rows - 49, columns - 98] * share
    assert np.abs(done.pixels[some] - mixed).max() <= 0.51


def test_an_edit_that_changes_nothing_gives_the_photo():
    photo = noise()
    crop = crop_face(photo, BOX, 192)
    for mask in (None, disc(192)):
        assert (composite(photo, crop, crop.canvas, mask).pixels == photo).all()


def test_without_a_mask_the_edit_fades_out_before_the_edge_of_the_canvas():
    photo = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    crop = crop_face(photo, BOX, 192)
    done = composite(photo, crop, np.full_like(crop.canvas, 200), feather=0.02)
    assert done.pixels[145, 194, 0] == 200
    steps = np.abs(np.diff(done.pixels[145, :, 0].astype(int)))
    assert steps.max() <= 100 / (REACH * 0.02 * 192) + 1
    assert (done.pixels[:49] == 100).all()


def test_a_mask_reaches_the_edge_of_the_photo():
    photo = np.full((64, 64, 3), 100, np.uint8)
    crop = crop_face(photo, None, 64, whole=True)
    assert (composite(photo, crop, np.full_like(photo, 200)).pixels == 200).all()
    photo = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    crop = crop_face(photo, (30, 90, 88, 110), 192)  # reaches beyond the left edge
    done = composite(photo, crop, np.full_like(crop.canvas, 200))
    assert (done.pixels[140:150, 0] == 200).all()


def test_rim_falls_from_the_mask_outwards():
    crop = crop_face(noise(), BOX, 192)
    line = composite(noise(), crop, crop.canvas, disc(192), feather=0.03).mask[145, 194:290]
    assert line[0] == 1
    assert (np.diff(line) <= 1e-6).all()
    assert line[-1] == 0
    assert ((line > 0) & (line < 1)).sum() > 20


def test_colours_are_matched_at_the_rim_when_asked_for():
    photo = ndimage.gaussian_filter(noise(), (6, 6, 0)) // 2 + 60
    crop = crop_face(photo, BOX, 192)
    edited = crop.canvas + np.array([20, 0, -10])
    edited[disc(192, 0.1)] = 250
    plain = composite(photo, crop, edited, disc(192))
    assert (plain.shift == 0).all()
    assert np.abs(plain.pixels[145, 170].astype(int) - photo[145, 170]).max() == 20
    done = composite(photo, crop, edited, disc(192), match_rim=True)
    assert np.abs(done.shift - (-20, 0, 10)).max() < 0.01
    ring = (done.mask > 0)[49:241, 98:290] & ~disc(192, 0.1)
    assert (done.pixels[49:241, 98:290][ring] == photo[49:241, 98:290][ring]).all()


def test_empty_mask_and_wrong_shapes():
    photo = noise()
    crop = crop_face(photo, BOX, 96)
    done = composite(photo, crop, 255 - crop.canvas, np.zeros((96, 96), bool))
    assert (done.pixels == photo).all()
    with pytest.raises(ValueError, match="do not fit"):
        composite(photo[1:], crop, crop.canvas)
    with pytest.raises(ValueError, match="do not fit"):
        composite(photo, crop, crop.canvas[:50])
    with pytest.raises(ValueError, match="mask"):
        composite(photo, crop, crop.canvas, np.zeros((95, 96), bool))
    with pytest.raises(ValueError, match="fractions"):
        composite(photo, crop, crop.canvas, feather=-0.1)
