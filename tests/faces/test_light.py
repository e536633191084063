from __future__ import annotations

import numpy as np
import pytest

from mien.faces.camera import Camera, rotation
from mien.faces.light import basis, irradiance, main_direction, project, sample_light

UP, FRONT, RIGHT = np.array([0, 1.0, 0]), np.array([0, 0, 1.0]), np.array([1.0, 0, 0])


def _sphere(count: int = 20000) -> np.ndarray:
    points = np.random.default_rng(0).standard_normal((count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_basis_is_orthonormal():
    values = basis(_sphere(200000))
    np.testing.assert_allclose(4 * np.pi * values.T @ values / len(values), np.eye(9), atol=0.03)


def test_irradiance_is_the_cosine_integral_of_the_radiance():
    light = sample_light(np.random.default_rng(3), 0.6)
    directions = _sphere(400000)
    radiance = basis(directions) @ light
    for normal in (UP, FRONT, RIGHT):
        cosine = np.clip(directions @ normal, 0, None)
        expected = 4 * np.pi * (radiance * cosine[:, None]).mean(axis=0) / np.pi
        np.testing.assert_allclose(irradiance(light, normal[None])[0], expected, rtol=0.02, atol=0.01)


def test_even_light_is_even_and_a_lamp_lights_the_side_it_is_on():
    even = project(np.zeros((0, 3)), np.zeros((0, 3)), np.full(3, 0.7))
    np.testing.assert_allclose(irradiance(even, _sphere(50)), 0.7, rtol=1e-4)
    lamp = project(RIGHT[None], np.full((1, 3), np.pi), np.zeros(3))
    assert irradiance(lamp, RIGHT[None]).mean() > 0.8
    assert irradiance(lamp, -RIGHT[None]).mean() < 0.1
    np.testing.assert_allclose(main_direction(lamp), RIGHT, atol=1e-6)
    np.testing.assert_allclose(main_direction(np.zeros((9, 3))), FRONT)


def test_pose_turns_the_face_as_documented():
    assert rotation((30, 0, 0)) @ FRONT @ RIGHT == pytest.approx(0.5, abs=1e-6)  # own left is picture right
    assert rotation((0, 30, 0)) @ FRONT @ UP == pytest.approx(0.5, abs=1e-6)  # looks up
    assert rotation((0, 0, 30)) @ UP @ RIGHT == pytest.approx(0.5, abs=1e-6)  # tips to the own left
    turn = rotation((20, -10, 5))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(turn) == pytest.approx(1, abs=1e-6)


def test_crop_holds_the_landmarks_whatever_the_distance():
    landmarks = np.random.default_rng(0).uniform([-7, -8, 4], [7, 6, 12], (68, 3)).astype(np.float32)
    for distance in (45.0, 160.0):
        points, depth = Camera(distance=distance).frame(landmarks, 100).project(landmarks)
        assert points.min() > 0
        assert points.max() < 100
        np.testing.assert_allclose(depth, distance - landmarks[:, 2], rtol=1e-5)
        assert max(np.ptp(points[:, 0]), np.ptp(points[:, 1])) == pytest.approx(100 / 1.3, rel=1e-3)
