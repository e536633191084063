"""Light as nine bands of spherical harmonics (Ramamoorthi and Hanrahan 2001, real basis, degree <= 2).

Directions are unit vectors in the camera frame: x to the right of the picture, y up, z towards the camera.
"""

from __future__ import annotations

import numpy as np

_BAND_WEIGHTS = np.array([np.pi] + [2 * np.pi / 3] * 3 + [np.pi / 4] * 5, np.float32)


def basis(directions: np.ndarray) -> np.ndarray:
    """Real SH basis, degree <= 2: [..., 3] unit directions -> [..., 9], by degree, then order ascending."""
    x, y, z = directions[..., 0], directions[..., 1], directions[..., 2]
    return np.stack(
        [
            np.full_like(x, 0.282095),
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3 * z * z - 1),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        axis=-1,
    )


def project(directions: np.ndarray, power: np.ndarray, ambient: np.ndarray) -> np.ndarray:
    """SH coefficients of distant point lights in a uniform ambient light.

    Args:
        directions: float [n, 3], unit vectors towards the lights.
        power: float [n, 3], irradiance each light gives a surface that faces it, RGB.
        ambient: float [3], radiance from everywhere, RGB.

    Returns:
        float32 [9, 3] radiance coefficients.
    """
    light = basis(np.asarray(directions, np.float32)).T @ np.asarray(power, np.float32)
    light[0] += np.asarray(ambient, np.float32) * np.float32(np.sqrt(4 * np.pi))
    return light.astype(np.float32)


def irradiance(light: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Irradiance over pi, at least 0, at unit `normals` [..., 3] under `light` [9, 3] -> [..., 3].

    A white Lambertian surface (albedo 1) sends out exactly this radiance.
    """
    weighted = light * (_BAND_WEIGHTS / np.float32(np.pi))[:, None]
    return np.maximum(basis(normals) @ weighted, 0.0)


def shading(normals: np.ndarray) -> np.ndarray:
    """What each band adds to the irradiance over pi: [..., 3] unit normals -> [..., 9].

    `irradiance` is `shading(normals) @ light` where that is not negative.
    """
    return basis(normals) * (_BAND_WEIGHTS / np.float32(np.pi))


def main_direction(light: np.ndarray) -> np.ndarray:
    """Unit direction the light mostly comes from (linear bands of its luminance), +z if from none."""
    luminance = light @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    vector = luminance[[3, 1, 2]]
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-6 else np.array([0, 0, 1], np.float32)


def sample_light(rng: np.random.Generator, hardness: float) -> np.ndarray:
    """Draw a light: a key light above the eye line, a weaker fill from the other side, ambient.

    Args:
        rng: source of randomness.
        hardness: 0 (even studio light from the front) to 1 (strong coloured key from the side).

    Returns:
        float32 [9, 3].
    """
    side = rng.choice([-1, 1])
    azimuth = side * np.deg2rad(rng.uniform(5, 35 + 55 * hardness))
    height = np.deg2rad(rng.uniform(10, 40 + 20 * hardness) if rng.random() < 0.92 else rng.uniform(-30, 0))
    fill = -side * np.deg2rad(rng.uniform(20, 70))
    directions = np.array([_direction(azimuth, height), _direction(fill, np.deg2rad(rng.uniform(-10, 20)))])
    warm = rng.normal(0, 0.03 + 0.09 * hardness, 2)[:, None] * np.array([1, 0.1, -1])
    key = rng.uniform(0.8, 1.1) * (1 + 0.35 * hardness)
    ambient = 0.5 - 0.28 * hardness
    power = np.pi * np.array([[key * 0.62], [rng.uniform(0.1, 0.35) * (1 - 0.5 * hardness)]]) * (1 + warm)
    return project(directions, power, np.full(3, ambient) * (1 - warm[0]))


def _direction(azimuth: float, height: float) -> np.ndarray:
    return np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
