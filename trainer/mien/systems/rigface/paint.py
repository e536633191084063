"""Colour of the rendered head: what every face has, times the base colour of this one.

A fitted face model has a coarse texture: skin of one tone with lips, brows and lids where everybody has
them. So has this head: the face world's texture of nobody in particular, relative to its base colour. Lips
and brows let the network see where the face moves; freckles, beard, make-up and hair would only repeat the
photograph, and hair would hide the shape. Teeth and eyes are in the mesh and keep their own colours. Eyes
look where the codes say, with one iris for all. The deeper in the mouth, the darker: nine bands cast no
shadow, and a lit tongue would look like a stuck-out one.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from mien.faces.actions import Actions
from mien.faces.eyes import eye_surface
from mien.faces.fragments import Fragments
from mien.faces.person import Person, sample_person
from mien.faces.rig import Surface
from mien.faces.scene import Scene
from mien.faces.skin import skin_tone, texture
from mien.faces.skin_masks import sample_texture

# Parts, their albedo, and the least share of it that is left deep in the mouth.
_INSIDE = (
    (("teeth_upper", "teeth_lower"), np.array([0.62, 0.58, 0.51], np.float32), 0.35),
    (("tongue",), np.array([0.42, 0.15, 0.14], np.float32), 0.05),
    (("cavity",), np.array([0.10, 0.03, 0.03], np.float32), 0.05),
)
_DARK = 2.0  # cm behind the lips by which the mouth darkens to a third
_WET = np.array([0.30, 0.10, 0.09], np.float32)


@lru_cache(maxsize=1)
def nobody() -> Person:
    """A bald young person without beard, freckles, make-up or tone of the face, and with thin brows."""
    return replace(
        sample_person(0),
        shape=np.zeros_like(sample_person(0).shape),
        melanin=0.4, blood=0.4, age=0.0, freckles=0.0, beard=0.0, lips=0.0, brow_size=0.75, hair_style="bald",
        iris=np.array([0.16, 0.09, 0.04], np.float32), resting=Actions(), gain=(1.0, 1.0),
    )  # fmt: skip


def charted(base: np.ndarray, surface: Surface, seen: Fragments) -> np.ndarray:
    """Albedo of a head of `mien.faces.rig`, float32 [n, 3] in [0, 1]; that of the eyes is left to `eyes`.

    Args:
        base: float32 [3], linear RGB.
        surface: the head.
        seen: the samples that see it.
    """
    colour = np.clip(base * sample_texture(_relative(), seen.chart), 0, 1).astype(np.float32)
    inner = 0.6 * np.clip(seen.rim, 0, 1)[:, None]
    colour += inner * (np.minimum(_WET, colour) - colour)
    colour[seen.of("ear")] = base
    front = surface.landmarks[60:68, 2].max()
    for parts, paint, least in _INSIDE:
        inside = seen.of(*parts)
        behind = np.maximum(front - seen.head[inside, 2], 0)
        colour[inside] = paint * np.clip(1.25 * np.exp(-behind / _DARK), least, 1)[:, None]
    return colour


def plain(base: np.ndarray, surface: Surface, seen: Fragments) -> np.ndarray:
    """The base colour everywhere, float32 [n, 3]: for a mesh whose places on the face are not known."""
    return np.repeat(np.asarray(base, np.float32)[None], len(seen.pixel), axis=0)


def eyes(scene: Scene, surface: Surface, seen: Fragments, colour: np.ndarray) -> np.ndarray:
    """Paint the eyeballs into `colour` [n, 3] in place; unit normals float32 [n, 3] of all samples.

    Eyes are spheres whatever their mesh is, so their normals are exact.
    """
    normal = seen.normal.copy()
    eye = seen.of("eye_left", "eye_right")
    if eye.any():
        globe = eye_surface(scene, surface, seen, eye)
        colour[eye], normal[eye] = globe.albedo, globe.normal
    return normal


@lru_cache(maxsize=1)
def _relative() -> np.ndarray:
    """Texture of nobody over the base colour, float32 [SIZE, SIZE, 3]."""
    person = nobody()
    return texture(person) / skin_tone(person.melanin, person.blood)
