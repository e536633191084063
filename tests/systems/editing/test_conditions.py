"""The condition image: what is black, and where the dots lie."""

from __future__ import annotations

import matplotlib
import numpy as np

from mien.systems.editing.conditions import condition_image, jaw_dots
from mien.systems.editing.parsing import CLASSES, blacked, of_world

JAW = np.stack([np.linspace(20, 230, 17), 150 + 80 * np.sin(np.linspace(0, np.pi, 17))], 1)


def test_masks_of_both_modes() -> None:
    labels = np.arange(19, dtype=np.uint8)[None]
    assert blacked(labels, "person")[0].tolist() == [False] + [True] * 18
    kept = [CLASSES[place] for place in np.flatnonzero(~blacked(labels, "face")[0])]
    assert kept == ["background", "left_ear", "right_ear", "earring", "neck", "cloth", "hair", "hat"]


def test_dots_are_circles_of_the_released_colours() -> None:
    dots = jaw_dots(JAW, 256)
    rainbow = matplotlib.colormaps["rainbow"](np.linspace(0, 1, 70))[:17, :3]
    for (x, y), colour in zip(JAW, rainbow, strict=True):
        np.testing.assert_allclose(dots[int(y), int(x)], colour[::-1], atol=1e-6)  # red and blue exchanged
    covered = dots.max(2) > 0
    area = covered.sum() / 17
    assert 10 < area < 22  # a circle of radius 2 covers 12.6 pixels, and touches more
    pink, yellow = dots[int(JAW[0, 1]), int(JAW[0, 0])], dots[int(JAW[16, 1]), int(JAW[16, 0])]
    assert pink[0] == 1
    assert pink[1] < 0.1
    assert yellow[0] > yellow[2]


def test_the_person_is_black_and_dots_are_added_to_the_rest() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    labels = np.zeros((256, 256), np.uint8)
    labels[100:] = 1
    labels[200:] = 17
    for mode, black in (("person", labels > 0), ("face", labels == 1)):
        made = condition_image(picture, labels, JAW, mode)
        dots = jaw_dots(JAW, 256)
        assert np.array_equal(made[~black & (dots.max(2) == 0)], picture[~black & (dots.max(2) == 0)])
        assert not made[black & (dots.max(2) == 0)].any()
        wanted = np.minimum(255, np.where(black[..., None], 0, picture) + np.rint(255 * dots))
        assert np.abs(made - wanted).max() <= 1


def test_small_pictures_have_fainter_dots_not_none() -> None:
    small = jaw_dots(JAW / 4, 64)
    assert (small.reshape(-1, 3).max(0) > 0.2).all()
    assert small.max() <= 1


def test_labels_of_the_face_world() -> None:
    assert of_world(np.arange(8)).tolist() == [0, 1, 2, 4, 12, 11, 17, 0]
