"""Sliders: what moves, by how much, and how they are misspelt."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from mien.errors import MienError
from mien.faces.camera import rotation
from mien.faces.light import irradiance
from mien.systems.rigface.codes import UNITS, Codes
from mien.systems.rigface.sliders import Sliders
from rigface_faces import codes, directions, flame_codes


def _moved(before: Codes, after: Codes) -> set[str]:
    names = [field.name for field in fields(Codes)]
    return {n for n in names if not np.array_equal(getattr(before, n), getattr(after, n))}


@pytest.mark.parametrize(
    ("sliders", "moves", "edit"),
    [
        (Sliders(), set(), "None"),
        (Sliders(yaw=10), {"pose"}, "pose"),
        (Sliders(light_turn=40), {"light"}, "light"),
        (Sliders(light_gain=0.5), {"light"}, "light"),
        (Sliders(units=("AU12=+0.5",)), {"expression"}, "exp"),
        (Sliders(roll=-5, light_gain=2, units=("AU1=1",)), {"pose", "light", "expression"}, "exp+pose+light"),
    ],
)
def test_sliders_move_what_they_name(sliders, moves, edit):
    source = codes(0)
    assert _moved(source, sliders.apply(source)) == moves
    assert str(sliders.edit()) == edit


def test_degrees_add_to_the_pose_and_the_crop_stays():
    source = replace(codes(0), pose=(5.0, -2.0, 1.0))
    turned = Sliders(yaw=-20, pitch=4, roll=3).apply(source)
    assert turned.pose == (-15.0, 2.0, 4.0)
    assert turned.boxed == source.boxed


def test_light_turns_about_the_vertical_and_dims():
    source, normals = codes(1), directions()
    turned = Sliders(light_turn=70, light_gain=0.5).apply(source)
    expected = irradiance(source.light, normals) / 2
    np.testing.assert_allclose(
        irradiance(turned.light, normals @ rotation((70, 0, 0)).T), expected, rtol=1e-4, atol=1e-5
    )
    dark = Sliders(light_gain=0).apply(source)
    assert not dark.light.any()


@pytest.mark.parametrize(
    ("text", "left", "right"),
    [
        ("AU12=+0.5", 0.75, 0.9), ("AU12=-0.3", 0.0, 0.1), ("AU12=0.6", 0.6, 0.6), ("AU12=1", 1.0, 1.0),
        ("AU12L=+.2", 0.45, 0.4), ("AU12R=0", 0.25, 0.0), (" AU12=+1.5 ", 1.75, 1.9),
    ],
)  # fmt: skip
def test_units_add_with_a_sign_and_set_without(text, left, right):
    psi = np.full(50, 0.125, np.float32)
    at = 2 * UNITS.index(12)
    psi[at : at + 2] = [0.25, 0.4]
    found = Sliders(units=(text,)).apply(replace(codes(0), expression=psi)).expression
    np.testing.assert_allclose(found[at : at + 2], [left, right], atol=1e-6)
    assert (np.delete(found, [at, at + 1]) == 0.125).all()


def test_several_units_move_in_turn():
    found = Sliders(units=("AU26=0.5", "AU26=+0.25", "AU4R=0.1")).apply(codes(0)).expression
    at = 2 * UNITS.index(26)
    np.testing.assert_allclose(found[at : at + 2], 0.75)
    assert found[2 * UNITS.index(4) + 1] == np.float32(0.1)


@pytest.mark.parametrize(
    ("sliders", "says"),
    [
        (Sliders(units=("AU3=0.5",)), "no action unit AU3; did you mean AU"),
        (Sliders(units=("smile=0.5",)), "'smile=0.5' moves no action unit; write AU12"),
        (Sliders(units=("AU12",)), "moves no action unit"),
        (Sliders(units=("AU12=much",)), "moves no action unit"),
        (Sliders(units=("AU26L=0.5",)), "AU26 has no sides"),
        (Sliders(light_gain=-1), "the gain 0 or more"),
        (Sliders(yaw=float("nan")), "finite"),
    ],
)
def test_misspelt_sliders_are_refused(sliders, says):
    with pytest.raises(MienError, match=says):
        sliders.apply(codes(0))


def test_flame_has_no_action_units():
    assert Sliders(pitch=3).apply(flame_codes()).pose[1] == codes(0).pose[1] + 3
    with pytest.raises(MienError, match="no action units"):
        Sliders(units=("AU12=1",)).apply(flame_codes())
