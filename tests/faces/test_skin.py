"""Colour and creases of the skin, looked up by its chart."""

from dataclasses import replace

import numpy as np
import pytest

from mien.faces.actions import ACTION_UNITS, Actions
from mien.faces.person import sample_person
from mien.faces.skin import albedo, creases, skin_tone

CHEEK, FOREHEAD, LIP, BROW, LASH = (4.5, 1.3), (0.0, 7.5), (0.8, -3.9), (3.3, 6.0), (3.4, 3.45)


def _at(*places):
    """A small patch of chart points around each place, float32 [places, 25, 2]."""
    side = np.linspace(-0.12, 0.12, 5)
    patch = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    return (np.array(places)[:, None] + patch).astype(np.float32)


def _mean(person, *places):
    chart = _at(*places)
    return albedo(person, chart.reshape(-1, 2)).reshape(len(places), -1, 3).mean(axis=1)


def _plain(**changes):
    return replace(sample_person(6), age=0.0, beard=0.0, freckles=0.0, lips=0.0, **changes)


def test_albedo_is_a_colour_everywhere():
    rng = np.random.default_rng(0)
    chart = rng.uniform(-30, 30, (5000, 2)).astype(np.float32)
    for seed in range(4):
        colour = albedo(sample_person(seed), chart)
        assert colour.shape == (5000, 3)
        assert colour.dtype == np.float32
        assert np.isfinite(colour).all()
        assert colour.min() > 0
        assert colour.max() < 1
        assert np.array_equal(colour, albedo(sample_person(seed), chart))


def test_melanin_darkens_and_skin_is_warm():
    tones = np.stack([skin_tone(m, 0.4) for m in (0.0, 0.3, 0.6, 1.0)])
    assert (np.diff(tones, axis=0) < 0).all()
    assert (np.diff(tones, axis=1) < 0).all()


def test_lips_brows_and_lashes_are_where_they_belong():
    for melanin in (0.1, 0.6):
        cheek, forehead, lip, brow, lash = _mean(_plain(melanin=melanin), CHEEK, FOREHEAD, LIP, BROW, LASH)
        assert lip[0] / lip[1] > 1.2 * cheek[0] / cheek[1], "lips are redder"
        assert brow.sum() < 0.7 * forehead.sum()
        assert lash.sum() < 0.6 * forehead.sum()


def test_beard_make_up_and_freckles_show():
    jaw, moustache = (5.5, -5.5), (1.3, -2.1)
    dark = _plain(hair=np.full(3, 0.03, np.float32))
    bare, bearded = (_mean(person, jaw, moustache) for person in (dark, replace(dark, beard=1.0)))
    assert (bearded.sum(axis=1) < 0.75 * bare.sum(axis=1)).all()
    natural, painted = _mean(_plain(), LIP)[0], _mean(replace(_plain(), lips=1.0), LIP)[0]
    assert painted[0] / painted[1] > 1.5 * natural[0] / natural[1]
    chart = np.random.default_rng(0).uniform([1.5, 0.3], [5, 2], (4000, 2)).astype(np.float32)
    light = _plain(melanin=0.1)
    assert albedo(replace(light, freckles=1.0), chart)[:, 0].std() > 1.5 * albedo(light, chart)[:, 0].std()


FOLDS = {
    1: (0.8, 8.0), 2: (4.4, 8.0), 4: (0.62, 5.6), 6: (5.6, 3.5), 9: (0.5, 2.45), 10: (1.9, -0.75),
    11: (2.5, -1.7), 12: (3.1, -2.6), 14: (3.35, -3.35), 15: (3.05, -4.25), 17: (0.6, -5.05), 20: (3.6, -3.4),
}  # fmt: skip
"""A place in the deepest fold of a unit, chart (u, v) on the person's left."""


@pytest.mark.parametrize("number", sorted(FOLDS))
def test_folds_deepen_with_intensity_on_their_side(number):
    person = _plain()
    u, v = FOLDS[number]
    chart = np.concatenate([_at((u, v))[0], _at((-u, v))[0]])
    depth = [
        creases(person, Actions.of({number: x}) if x else Actions(), chart).max() for x in (0, 0.3, 0.6, 1.0)
    ]
    assert (np.diff(depth) > 0.02).all(), depth
    assert depth[-1] > 0.25
    if ACTION_UNITS[number].lateral:
        left, right = np.split(creases(person, Actions({number: 1.0}, {}), chart), 2)
        assert left.max() > 2 * right.max()


def test_creases_stay_in_range_and_age_leaves_lines():
    chart = np.random.default_rng(0).uniform(-9, 9, (4000, 2)).astype(np.float32)
    person = _plain()
    everything = creases(replace(person, age=1.0), Actions.of(dict.fromkeys(ACTION_UNITS, 1.0)), chart)
    assert everything.dtype == np.float32
    assert everything.min() >= 0
    assert everything.max() <= 1
    assert creases(person, Actions(), chart).max() < 0.01
    assert creases(replace(person, age=1.0), Actions(), chart).max() > 0.2
