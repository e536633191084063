"""From linear light to the 8-bit picture of a camera."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from mien.faces.scene import Sensor


def expose(linear: np.ndarray, sensor: Sensor) -> np.ndarray:
    """Blur, tone curve, noise, grey, JPEG: linear RGB float32 [h, w, 3] -> sRGB uint8 [h, w, 3]."""
    if sensor.blur > 0:
        sigma = sensor.blur * max(linear.shape[:2])
        linear = gaussian_filter(linear, (sigma, sigma, 0), truncate=3.0)
    picture = 255 * srgb(tone(linear * np.float32(sensor.exposure)))
    if sensor.noise > 0:
        picture = picture + _grain(picture.shape, sensor)
    if sensor.grey:
        picture = np.repeat(picture @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, axis=2)
    image = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    return _recode(image, sensor.jpeg) if sensor.jpeg else image


def tone(linear: np.ndarray) -> np.ndarray:
    """Film-like curve: bright shadows and mid tones, a soft shoulder that never reaches 1."""
    return 1 - np.exp(-1.7 * np.maximum(linear, 0))


def srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] -> sRGB values in [0, 1]."""
    return np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-8) ** (1 / 2.4) - 0.055
    )


def linear_of(picture: np.ndarray) -> np.ndarray:
    """Linear light of uint8 values: the inverse of both curves, float32; 255 counts as 254.5."""
    value = np.minimum(picture.astype(np.float32), 254.5) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return (-np.log1p(-light) / 1.7).astype(np.float32)


def _grain(shape: tuple[int, ...], sensor: Sensor) -> np.ndarray:
    """Noise of the sensor: mostly the same in the three colours."""
    rng = np.random.default_rng([sensor.seed, 0x5E])
    own = rng.standard_normal(shape, np.float32)
    shared = rng.standard_normal((*shape[:2], 1), np.float32)
    return np.float32(sensor.noise) * (0.8 * shared + 0.6 * own)


def _recode(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer).convert("RGB"))
