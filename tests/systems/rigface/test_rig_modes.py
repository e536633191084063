"""The mode table: each edit moves its codes and no others, and how far."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mien.errors import MienError
from mien.faces.camera import rotation
from mien.systems.rigface.codes import Codes
from mien.systems.rigface.modes import EDITS, MODES, arc, head_pose, head_turn, mix, parse_modes
from rigface_faces import codes, flame_codes

MOVES = {"exp": "expression", "pose": "pose", "light": "light"}
# Whose psi and which mask (rigface spec, 2: mode table).
TABLE = {
    "exp": ("target", "source"), "light": ("source", "source"), "exp+light": ("target", "source"),
    "pose": ("source", "union"), "exp+pose": ("target", "union"), "pose+light": ("source", "union"),
    "exp+pose+light": ("target", "union"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(TABLE))
@pytest.mark.parametrize("pair", [(codes(0), codes(3)), (flame_codes(0), flame_codes(1))])
def test_each_mode_moves_its_codes_and_no_others(name, pair):
    source, target = pair
    mixed = mix(source, target, name)
    moved = {MOVES[mode] for mode in name.split("+")}
    for field in fields(Codes):
        given, wanted = (getattr(codes, field.name) for codes in (source, target))
        found = getattr(mixed, field.name)
        np.testing.assert_array_equal(found, wanted if field.name in moved else given, err_msg=field.name)
        if field.name not in ("space", "albedo"):
            assert not np.array_equal(given, wanted), field.name
    edit = parse_modes(name)
    assert (edit.psi, edit.mask) == TABLE[name]


def test_there_are_seven_edits_in_any_order_of_writing():
    assert sorted(map(str, EDITS)) == sorted(TABLE)
    for edit in EDITS:
        for order in permutations(edit.modes):
            assert (
                parse_modes("+".join(order)) == parse_modes(" + ".join(order)) == parse_modes(order) == edit
            )
        assert str(edit) == "+".join(mode for mode in MODES if mode in edit.modes)


@pytest.mark.parametrize(
    ("modes", "says"),
    [
        ("lihgt", "no mode 'lihgt'; did you mean 'light'"),
        ("exp+poes", "no mode 'poes'; did you mean 'pose'"),
        ("Exp", "no mode 'Exp'; did you mean 'exp'"),
        ("hair", "no mode 'hair'; join some of exp, pose, light"),
        ("", "no mode ''"),
        ("exp+", "no mode ''"),
        ("exp+exp", "'exp.exp' names a mode twice"),
        ((), "no mode is named"),
    ],
)
def test_other_modes_are_refused(modes, says):
    with pytest.raises(MienError, match=says):
        parse_modes(modes)


def test_strength_and_space_are_checked():
    for strength in (-0.1, 1.31, float("nan")):
        with pytest.raises(MienError, match=r"strength.*give 0 to 1\.3"):
            mix(codes(0), codes(1), "exp", strength)
    with pytest.raises(MienError, match="source codes of 'world', target codes of 'flame'"):
        mix(codes(0), flame_codes(), "light")


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 1.3])
def test_expression_and_light_go_straight(strength):
    source, target = flame_codes(0), flame_codes(1)
    mixed = mix(source, target, "exp+light", strength)
    for name in ("expression", "light"):
        start, end = getattr(source, name), getattr(target, name)
        np.testing.assert_allclose(getattr(mixed, name), start + strength * (end - start), atol=1e-6)
    jaw = mixed.expression[-3:]
    np.testing.assert_allclose(jaw, [0.2, 0.03, -0.02], atol=1e-6)
    assert mixed.expression.dtype == mixed.light.dtype == np.float32


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, 1.3])
def test_the_head_turns_along_the_shortest_arc(share):
    start, end = (35.0, -10.0, 8.0), (-50.0, 20.0, -15.0)
    found = arc(start, end, share)
    way = (head_turn(end) * head_turn(start).inv()).magnitude()
    assert (head_turn(found) * head_turn(start).inv()).magnitude() == pytest.approx(share * way, abs=1e-9)
    past = abs(1 - share) * way
    assert (head_turn(found) * head_turn(end).inv()).magnitude() == pytest.approx(past, abs=1e-9)
    # The classical formula on quaternions.
    first, last = head_turn(start).as_quat(), head_turn(end).as_quat()
    last = last * np.sign(first @ last)
    angle = np.arccos(first @ last)
    blend = (np.sin((1 - share) * angle) * first + np.sin(share * angle) * last) / np.sin(angle)
    np.testing.assert_allclose(Rotation.from_quat(blend).as_matrix(), rotation(found), atol=1e-5)
    if share in (0, 1):
        assert found == (end if share else start)


def test_poses_are_those_of_the_face_world():
    for pose in ((0.0, 0.0, 0.0), (30.0, -20.0, 10.0), (-80.0, 60.0, -120.0), (170.0, 5.0, 0.0)):
        np.testing.assert_allclose(head_turn(pose).as_matrix(), rotation(pose), atol=1e-6)
        np.testing.assert_allclose(head_pose(head_turn(pose)), pose, atol=1e-9)
    # About one axis the arc is the straight line, whichever axis.
    np.testing.assert_allclose(arc((10, 0, 0), (50, 0, 0), 1.3), (62, 0, 0), atol=1e-9)
    np.testing.assert_allclose(arc((0, 10, 0), (0, -30, 0), 0.5), (0, -10, 0), atol=1e-9)
    np.testing.assert_allclose(arc((0, 0, 170), (0, 0, -170), 0.5), (0, 0, 180), atol=1e-9)


def test_edits_of_edits_keep_the_crop_of_the_photograph():
    source = codes(0)
    once = mix(source, codes(1), "pose", 0.5)
    twice = mix(once, codes(3), "pose+light")
    assert twice.boxed == source.boxed == source.pose
    assert twice.pose == codes(3).pose
    back = mix(twice, source, "pose")
    assert back.pose == back.boxed
    assert replace(back, light=source.light).camera == source.camera
