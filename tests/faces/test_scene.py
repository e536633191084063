from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.faces.actions import Actions
from mien.faces.person import sample_person
from mien.faces.scene import BACKGROUNDS, OCCLUDERS, Scene, sample_scene


def _scenes(style: str, count: int = 300) -> list[Scene]:
    return [
        sample_scene(sample_person(seed % 5), Actions.of({12: 0.5}), np.random.default_rng(seed), style)
        for seed in range(count)
    ]


def test_studio_is_calm_and_wild_is_not():
    studio, wild = _scenes("studio"), _scenes("wild")
    for scenes, yaw in ((studio, 15), (wild, 45)):
        assert max(abs(scene.pose[0]) for scene in scenes) <= yaw
        assert {scene.background.kind for scene in scenes} <= {*BACKGROUNDS}
        assert all(scene.light.shape == (9, 3) and np.isfinite(scene.light).all() for scene in scenes)
        assert all(0 <= value <= 1 for scene in scenes for c in scene.background.colours for value in c)
    assert not any(scene.occluders or scene.sensor.jpeg or scene.sensor.grey for scene in studio)
    assert {occluder.kind for scene in wild for occluder in scene.occluders} == {*OCCLUDERS}
    assert 0.2 < np.mean([bool(scene.occluders) for scene in wild]) < 0.6
    spread = [np.std([scene.pose[0] for scene in scenes]) for scenes in (studio, wild)]
    assert spread[1] > 2 * spread[0]


def test_same_numbers_same_scene_and_actions_are_kept():
    first, again = _scenes("wild", 3), _scenes("wild", 3)
    for one, two in zip(first, again):
        assert (one.pose, one.gaze, one.camera, one.background, one.occluders, one.sensor) == (
            two.pose, two.gaze, two.camera, two.background, two.occluders, two.sensor,
        )  # fmt: skip
        np.testing.assert_array_equal(one.light, two.light)
        assert one.actions == Actions.of({12: 0.5})


def test_the_bald_lose_no_lock_of_hair_and_eyes_stay_on_the_camera():
    bald = replace(sample_person(0), hair_style="bald")
    scenes = [sample_scene(bald, Actions(), np.random.default_rng(s), "wild") for s in range(200)]
    assert not any(occluder.kind == "hair" for scene in scenes for occluder in scene.occluders)
    turned = np.array([[scene.pose[0], scene.gaze[0]] for scene in scenes])
    assert np.corrcoef(turned.T)[0, 1] < -0.3


def test_unknown_style_is_refused():
    with pytest.raises(ValueError, match="noir"):
        sample_scene(sample_person(0), Actions(), np.random.default_rng(0), "noir")
