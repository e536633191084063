"""Nine bands: orthogonality, the published formula, and the rotation of a light."""

from __future__ import annotations

import numpy as np
import pytest

from mien.faces.camera import rotation
from mien.faces.light import basis, irradiance, main_direction, project, sample_light
from mien.systems.rigface.harmonics import from_published, published_bands, rotate_light, to_published
from rigface_faces import directions


def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Directions and weights that integrate polynomials up to degree 7 over the sphere exactly."""
    z, weight = np.polynomial.legendre.leggauss(8)
    angle = 2 * np.pi * np.arange(16) / 16
    ring = np.sqrt(1 - z**2)
    x, y = (np.outer(ring, part(angle)) for part in (np.cos, np.sin))
    points = np.stack([x, y, np.repeat(z[:, None], 16, axis=1)], axis=-1).reshape(-1, 3)
    return points, np.repeat(weight, 16) * 2 * np.pi / 16


def test_both_bases_are_orthogonal_by_integration():
    points, weight = _quadrature()
    assert weight.sum() == pytest.approx(4 * np.pi)
    values = basis(points)
    np.testing.assert_allclose((values * weight[:, None]).T @ values, np.eye(9), atol=1e-5)
    published = published_bands(points)
    gram = (published * weight[:, None]).T @ published
    # Lambert's weights of degree 1 and 2 are 2 pi / 3 and pi / 4; the published constant band has 1.
    expected = np.diag([1.0] + [(2 * np.pi / 3) ** 2] * 3 + [(np.pi / 4) ** 2] * 5)
    np.testing.assert_allclose(gram, expected, atol=1e-9)


def test_irradiance_is_the_published_sum():
    normals = directions()
    for seed in range(4):
        light = sample_light(np.random.default_rng(seed), 0.2).astype(np.float64)
        published = to_published(light)
        np.testing.assert_allclose(from_published(published), light, rtol=1e-12)
        summed = published_bands(normals) @ published
        np.testing.assert_allclose(irradiance(light, normals), np.maximum(summed, 0), atol=2e-6)


def test_the_published_constants_are_those_of_the_specification():
    normal = np.array([[0.48, 0.6, 0.64]])
    x, y, z = normal[0]
    g = [
        1 / np.sqrt(4 * np.pi), *[2 * np.pi / 3 * np.sqrt(3 / (4 * np.pi))] * 3,
        *[3 * np.pi / 4 * np.sqrt(5 / (12 * np.pi))] * 3, 3 * np.pi / 8 * np.sqrt(5 / (12 * np.pi)),
        np.pi / 8 * np.sqrt(5 / (4 * np.pi)),
    ]  # fmt: skip
    h = [1, x, y, z, x * y, x * z, y * z, x**2 - y**2, 3 * z**2 - 1]
    np.testing.assert_allclose(published_bands(normal)[0], np.multiply(g, h), rtol=1e-12)


@pytest.mark.parametrize("pose", [(40.0, 0.0, 0.0), (-170.0, 0.0, 0.0), (25.0, -50.0, 80.0)])
def test_a_turned_light_is_the_old_one_seen_from_turned_normals(pose):
    light, turn = sample_light(np.random.default_rng(5), 0.9), rotation(pose)
    turned = rotate_light(light, turn)
    assert turned.dtype == np.float32
    normals = directions()
    np.testing.assert_allclose(
        irradiance(turned, normals @ turn.T), irradiance(light, normals), rtol=1e-4, atol=1e-5
    )
    # The same by integration: the new coefficients are the projections of the turned radiance.
    points, weight = _quadrature()
    radiance = basis(points @ turn.astype(np.float64)) @ light
    np.testing.assert_allclose((basis(points) * weight[:, None]).T @ radiance, turned, atol=2e-5)
    np.testing.assert_allclose(main_direction(turned), turn @ main_direction(light), atol=1e-5)


def test_turns_of_the_light_add_up_and_bands_keep_their_energy():
    light = sample_light(np.random.default_rng(7), 0.9)
    once = rotate_light(rotate_light(light, rotation((30, 0, 0))), rotation((15, 0, 0)))
    np.testing.assert_allclose(once, rotate_light(light, rotation((45, 0, 0))), atol=1e-5)
    for band in (slice(0, 1), slice(1, 4), slice(4, 9)):
        np.testing.assert_allclose(
            (once[band] ** 2).sum(axis=0), (light[band] ** 2).sum(axis=0), rtol=1e-4, atol=1e-7
        )


def test_a_positive_turn_moves_the_light_to_the_right():
    front = project(np.array([[0, 0, 1.0]]), np.ones((1, 3)), np.zeros(3))
    assert main_direction(rotate_light(front, rotation((60, 0, 0))))[0] == pytest.approx(np.sin(np.pi / 3))
