"""Scenes and codes that the tests of RigFace share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mien.faces.actions import Actions
from mien.faces.person import sample_person
from mien.faces.scene import Background, Scene, Sensor, sample_scene
from mien.systems.rigface.codes import SPACES, Codes, codes_of


def scene(seed: int, style: str = "studio") -> Scene:
    """A person who smiles or frowns, without anything in front and with the default sensor."""
    actions = Actions.of([{12: 0.8, 25: 0.5}, {4: 0.9, 15: 0.6}][seed % 2], asymmetry=0.3)
    drawn = sample_scene(sample_person(seed), actions, np.random.default_rng(seed), style)
    return replace(drawn, occluders=(), sensor=Sensor(), background=Background())


def codes(seed: int) -> Codes:
    """Codes of `scene(seed)`."""
    return codes_of(scene(seed))


def flame_codes(seed: int = 0) -> Codes:
    """Codes of space "flame": small shape and expression, the jaw open."""
    rng = np.random.default_rng(seed)
    expression = np.concatenate([0.5 * rng.standard_normal(SPACES["flame"][1] - 3), [0.2, 0.03, -0.02]])
    shape = 0.5 * rng.standard_normal(SPACES["flame"][0])
    return replace(codes(seed), space="flame", shape=shape, expression=expression)


def directions(count: int = 500) -> np.ndarray:
    """Unit vectors, float64 [count, 3]."""
    points = np.random.default_rng(0).standard_normal((count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)
