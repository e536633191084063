"""Codes: what they hold of a scene, the order of psi, JSON there and back, what is refused."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from mien.errors import DataError
from mien.faces.actions import ACTION_UNITS, Actions
from mien.faces.skin import skin_tone
from mien.systems.rigface.codes import SPACES, UNITS, Codes, actions_of, codes_of, psi_of
from mien.systems.rigface.records import from_record, to_record
from rigface_faces import codes, flame_codes, scene


def test_codes_are_those_of_the_scene():
    given = scene(3)
    found = codes_of(given)
    person = given.person
    np.testing.assert_array_equal(found.shape, person.shape)
    np.testing.assert_array_equal(found.light, given.light)
    np.testing.assert_array_equal(found.albedo, skin_tone(person.melanin, person.blood))
    assert (found.pose, found.boxed, found.gaze) == (given.pose, given.pose, given.gaze)
    assert found.camera == given.camera
    for name in ("shape", "albedo", "expression", "light"):
        assert getattr(found, name).dtype == np.float32
    # Tone and gains of the person are in: the face shows more than it was told.
    shown = person.act(given.actions)
    assert actions_of(found.expression).left == pytest.approx(shown.left)
    assert actions_of(found.expression).right == pytest.approx(shown.right)
    assert found.expression.sum() > psi_of(given.actions).sum()


def test_psi_is_left_and_right_of_all_units_in_ascending_order():
    assert list(UNITS) == sorted(ACTION_UNITS)
    assert SPACES["world"][1] == 2 * len(ACTION_UNITS) == 50
    for place, unit in enumerate(sorted(ACTION_UNITS)):
        psi = psi_of(Actions({unit: 0.25}, {unit: 0.75}))
        assert psi.dtype == np.float32
        assert psi[2 * place : 2 * place + 2].tolist() == [0.25, 0.75]
        assert psi.sum() == 1
        assert actions_of(psi) == Actions({unit: 0.25}, {unit: 0.75})
    assert actions_of(np.full(50, -0.3, np.float32)) == Actions({}, {})


@pytest.mark.parametrize("given", [codes(0), codes(5), flame_codes()])
def test_records_survive_json(given):
    text = json.dumps(to_record(replace(given, pose=(1.5, 2.25, -3.1))), allow_nan=False)
    again = from_record(json.loads(text))
    for field in fields(Codes):
        expected = (1.5, 2.25, -3.1) if field.name == "pose" else getattr(given, field.name)
        np.testing.assert_array_equal(getattr(again, field.name), expected)
    assert again.camera == given.camera
    assert again.shape.dtype == again.light.dtype == np.float32
    assert len(text) < 3500


def _changed(**values: object) -> dict[str, object]:
    return {**to_record(codes(0)), **values}


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ([1, 2], "codes: a list in place of a mapping"),
        (_changed(ligth=[]), "unknown key 'ligth'; did you mean 'light'"),
        ({k: v for k, v in _changed().items() if k != "gaze"}, "lacks gaze"),
        (_changed(v=2), r"codes\.v: version 2 in place of 1"),
        (_changed(shape=[0.0] * 49), r"codes\.shape: shape \[49\] in place of \[50\]"),
        (_changed(expression=["AU1"] * 50), r"codes\.expression: not numbers"),
        (_changed(expression={"1": 0.5}), r"codes\.expression: .* in place of a list"),
        (_changed(light=[[float("nan")] * 3] * 9), r"codes\.light: .*not finite"),
        (_changed(light=[[0.5] * 3] * 4 + [[0.5]] * 5), r"codes\.light: not numbers"),
        (_changed(albedo=[0.5, 0.5, 1.5]), r"codes\.albedo: .*outside"),
        (_changed(pose=[0.0, 1.0]), r"codes\.pose: .*3 finite angles"),
        (_changed(space="bfm"), r"codes\.space: no code space 'bfm'; one of: world, flame"),
        (_changed(space=["world"]), r"codes\.space: the name"),
        (_changed(camera={"distance": 90.0, "scale": 1.0}), r"codes\.camera: lacks shift"),
        (_changed(camera={"distance": "far", "scale": 1.0, "shift": [0, 0]}), r"distance: 'far' in place"),
        (_changed(camera={"distance": 90.0, "scale": 1.0, "shift": [0]}), r"shift: \[0\] in place of 2"),
        (_changed(camera={"distance": 2.0, "scale": 1.0, "shift": [0, 0]}), "which it would touch"),
        (_changed(camera={"distance": 90.0, "scale": 0.0, "shift": [0, 0]}), "no camera has"),
    ],
)
def test_malformed_records_say_where(record, says):
    with pytest.raises(DataError, match=says) as caught:
        from_record(record, where="set/0001.json")
    assert caught.value.where.startswith("set/0001.json: codes")
    assert caught.value.fix


def test_codes_cannot_be_changed_behind_their_back():
    shape = np.zeros(50, np.float32)
    given = replace(codes(0), shape=shape)
    shape[0] = 9
    assert given.shape[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        given.light[0] = 0
