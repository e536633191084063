from __future__ import annotations

import numpy as np
import pytest

from mien.faces.backdrop import backdrop
from mien.faces.scene import BACKGROUNDS, Background, Sensor
from mien.faces.sensor import expose, srgb


@pytest.fixture
def card() -> np.ndarray:
    """A grey ramp with a coloured square, linear."""
    picture = np.repeat(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], 64, 0) * np.ones(
        3, np.float32
    )
    picture[20:40, 20:40] = [0.6, 0.1, 0.05]
    return picture


def test_tone_rises_and_exposure_brightens(card):
    image = expose(card, Sensor())
    assert image.dtype == np.uint8
    assert (np.diff(image[0, :, 0].astype(int)) >= 0).all()
    assert image.min() == 0
    assert 180 < image.max() <= 255
    assert expose(card, Sensor(exposure=1.5)).mean() > image.mean() + 5
    assert expose(card, Sensor(exposure=0.6)).mean() < image.mean() - 5
    np.testing.assert_allclose(
        srgb(np.array([0, 0.0031308, 0.2140411, 1.0])), [0, 0.04045, 0.5, 1], atol=1e-4
    )


def test_grey_has_no_colour(card):
    image = expose(card, Sensor(grey=True))
    assert (image == image[..., :1]).all()


def test_blur_softens_edges_and_keeps_flat_parts(card):
    sharp, soft = (expose(card, Sensor(blur=b)).astype(int) for b in (0.0, 0.02))
    edge = np.s_[30, 17:24, 1]
    assert np.abs(np.diff(soft[edge])).max() < np.abs(np.diff(sharp[edge])).max() / 2
    assert abs(int(soft[30, 30, 0]) - int(sharp[30, 30, 0])) <= 1


def test_noise_has_its_strength_and_follows_its_seed():
    flat = np.full((96, 96, 3), 0.3, np.float32)
    first, again, other = (expose(flat, Sensor(noise=6.0, seed=s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.8
    assert first.astype(float).std() == pytest.approx(6.0, rel=0.15)


def test_jpeg_changes_a_little_and_repeats(card):
    plain, packed = expose(card, Sensor()), expose(card, Sensor(jpeg=40))
    np.testing.assert_array_equal(packed, expose(card, Sensor(jpeg=40)))
    error = np.abs(plain.astype(int) - packed)
    assert 0 < error.mean() < 10


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_backgrounds_follow_their_colours_and_seed(kind):
    def draw(seed: int) -> np.ndarray:
        return backdrop(Background(kind, ((0.6, 0.1, 0.1), (0.1, 0.1, 0.6)), seed), 48)

    picture = draw(1)
    assert picture.shape == (48, 48, 3)
    assert picture.dtype == np.float32
    assert picture.min() >= 0
    assert np.isfinite(picture).all()
    np.testing.assert_array_equal(picture, draw(1))
    assert kind == "plain" or (draw(2) != picture).any()
    assert picture[..., 0].max() > picture[..., 1].mean()
