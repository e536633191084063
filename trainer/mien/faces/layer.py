"""A picture layer with its own light, laid over the samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.faces import light as sh


@dataclass(frozen=True)
class Layer:
    """Something drawn over the picture.

    Attributes:
        alpha: float32 [side, side], how much of what is behind it hides, in [0, 1].
        radiance: float32 [side, side, 3], linear RGB.
        solid: bool [side, side], where what is behind counts as covered.
    """

    alpha: np.ndarray
    radiance: np.ndarray
    solid: np.ndarray

    def over(self, picture: np.ndarray) -> None:
        """Blend the layer over `picture` float32 [side, side, 3] in place."""
        picture += (self.radiance - picture) * self.alpha[..., None]


def lit(
    height: np.ndarray, mask: np.ndarray, colour: np.ndarray, light: np.ndarray, gloss: float = 0.03
) -> Layer:
    """An opaque relief under `light`.

    Args:
        height: float32 [side, side] towards the camera, in samples.
        mask: bool [side, side], where there is something.
        colour: albedo, float32 [3] or [side, side, 3].
        light: float32 [9, 3].
        gloss: strength of a broad highlight.
    """
    down, right = np.gradient(height)
    normal = np.stack([-right, down, np.ones_like(height)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    radiance = np.zeros((*height.shape, 3), np.float32)
    tint = np.broadcast_to(colour, radiance.shape)[mask]
    radiance[mask] = reflect(light, normal[mask], tint, gloss)
    return Layer(mask.astype(np.float32), radiance, mask)


def reflect(light: np.ndarray, normal: np.ndarray, colour: np.ndarray, gloss: float = 0.03) -> np.ndarray:
    """Radiance [n, 3] of surfaces with `normal` [n, 3] and albedo [n, 3] without shadows."""
    middle = sh.main_direction(light) + np.array([0, 0, 1], np.float32)
    middle /= np.linalg.norm(middle)
    shine = gloss * np.clip(normal @ middle, 0, 1) ** 20
    return (colour * sh.irradiance(light, normal) + shine[:, None]).astype(np.float32)
