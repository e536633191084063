"""Faces to try the page with: drawn by the face world when it starts, of nobody."""

from __future__ import annotations

import hashlib

import numpy as np

from mien.editing.upload import Photo
from mien.faces.actions import Actions
from mien.faces.render import render
from mien.faces.rig import open_rig
from mien.faces.scene import sample_scene
from mien.faces.synth import person_of

SIDE = 192
"""Of a sample, pixels."""
_SEED = 20  # of the people and their surroundings


def sample_faces(count: int = 6) -> list[Photo]:
    """Calm faces, `SIDE` x `SIDE`, framed as the pictures that editors learn from; always the same ones."""
    rig, photos = open_rig(), []
    for number in range(count):
        person, _ = person_of(_SEED, number)
        scene = sample_scene(person, Actions(), np.random.default_rng([_SEED, number]))
        pixels = render(scene, rig, SIDE).image
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        photos.append(Photo(pixels, f"sample {number + 1}.png", digest))
    return photos
