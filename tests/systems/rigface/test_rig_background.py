"""The grey-filled background: which pixels, how far, and what stays."""

from __future__ import annotations

import numpy as np
import pytest

from mien.errors import MienError
from mien.faces.render import render
from mien.faces.rig import open_rig
from mien.systems.editing.parsing import of_world
from mien.systems.rigface.backend import open_backend
from mien.systems.rigface.background import GREY, grey_background, person_mask
from mien.systems.rigface.codes import codes_of
from mien.systems.rigface.modes import mix
from rigface_faces import codes, scene


def _labels(rows: slice, columns: slice, size: int = 64, value: int = 17) -> np.ndarray:
    labels = np.zeros((size, size), np.uint8)
    labels[rows, columns] = value
    return labels


def test_all_labels_above_zero_are_the_person():
    labels = np.arange(25, dtype=np.uint8).reshape(5, 5)
    mask = person_mask(labels, dilation=0)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, labels > 0)


def test_the_union_holds_both_and_the_source_alone_one():
    source, target = _labels(slice(10, 20), slice(10, 20)), _labels(slice(30, 40), slice(15, 50), value=1)
    both = person_mask(source, target, dilation=0)
    np.testing.assert_array_equal(both, (source > 0) | (target > 0))
    np.testing.assert_array_equal(person_mask(source, dilation=0), source > 0)
    coverage = target.astype(np.float32) / 4
    np.testing.assert_array_equal(person_mask(source, coverage, dilation=0), both)


@pytest.mark.parametrize(("size", "reach"), [(512, 15), (1024, 30), (128, 3)])
def test_dilation_is_a_disk_at_the_scale_of_the_picture(size, reach):
    middle = size // 2
    grown = person_mask(_labels(slice(middle, middle + 1), slice(middle, middle + 1), size))
    row, column = np.indices((size, size)) - middle
    np.testing.assert_array_equal(grown, row**2 + column**2 <= (15 * size / 512) ** 2)
    assert grown[middle, middle + reach]
    assert not grown[middle, middle + reach + 1]


def test_nobody_masks_nothing():
    assert not person_mask(np.zeros((32, 32), np.uint8)).any()


def test_person_is_grey_and_the_rest_untouched():
    base = scene(0)
    photo = render(base, open_rig(), 96)
    turned = mix(codes_of(base), codes(3), "pose")
    drawn = open_backend().render(turned, 96)
    kept = photo.image.copy()
    mask = person_mask(of_world(photo.regions), drawn.alpha)
    picture = grey_background(photo.image, mask)
    assert picture.dtype == np.uint8
    assert (picture[mask] == GREY).all()
    np.testing.assert_array_equal(picture[~mask], photo.image[~mask])
    np.testing.assert_array_equal(photo.image, kept)
    assert mask[(photo.regions > 0) | (drawn.alpha > 0)].all()
    assert 0.02 < (~mask).mean() < 0.6


def test_sizes_have_to_fit():
    with pytest.raises(MienError, match=r"masks of shape \[\[64, 64\], \[32, 32\]\]"):
        person_mask(np.zeros((64, 64), np.uint8), np.zeros((32, 32), np.uint8))
    with pytest.raises(MienError, match="dilation -1"):
        person_mask(np.zeros((64, 64), np.uint8), dilation=-1)
    with pytest.raises(MienError, match=r"a picture of \[64, 64\]"):
        grey_background(np.zeros((64, 64), np.uint8), np.zeros((64, 64), bool))
