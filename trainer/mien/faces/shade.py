"""Light on the head: skin, hair, teeth and mouth, as linear RGB radiance for each fragment."""

from __future__ import annotations

import numpy as np

from mien.faces import light as sh
from mien.faces.actions import Actions
from mien.faces.eyes import eye_surface
from mien.faces.fields import noise, step
from mien.faces.fragments import Fragments
from mien.faces.occlusion import ambient, cast_shadow, lid_shadow
from mien.faces.rig import Surface
from mien.faces.scene import Scene
from mien.faces.skin import albedo, creases

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
_STRANDS = noise((512, 256), (24, 200), np.random.default_rng(5))
_GLOSS = {"skin": (0.07, 14.0), "hair": (0.07, 9.0), "teeth": (0.10, 30.0), "wet": (0.06, 25.0)}
_GAPS = np.cumsum([0.0, 0.85, 0.66, 0.76, 0.7, 0.68, 0.95])
_INSIDE = ("teeth_upper", "teeth_lower", "tongue", "cavity")


def shade(scene: Scene, actions: Actions, surface: Surface, seen: Fragments) -> tuple[np.ndarray, np.ndarray]:
    """Radiance of the head under the scene's light.

    Args:
        scene: person, gaze and light.
        actions: what the face shows (tone and gains applied).
        surface: the head.
        seen: its visible samples.

    Returns:
        Linear RGB float32 [n, 3], and the unit normals float32 [n, 3] (camera frame) without creases.
    """
    colour = np.zeros((len(seen.pixel), 3), np.float32)
    normal = seen.normal.copy()
    bumpy = normal.copy()
    gloss = np.zeros((2, len(seen.pixel)), np.float32)
    openness = seen.gather(ambient(seen.height, seen.density))
    glint = np.zeros(len(seen.pixel), np.float32)
    _paint_skin(scene, actions, seen, colour, bumpy, gloss)
    _paint_hair(scene, seen, colour, gloss)
    _paint_mouth(surface, seen, colour, gloss, openness)
    eye = seen.of("eye_left", "eye_right")
    if eye.any():
        globe = eye_surface(scene, surface, seen, eye)
        colour[eye], normal[eye], bumpy[eye], glint[eye] = (
            globe.albedo,
            globe.normal,
            globe.normal,
            globe.glint,
        )
        shade_of_lid = seen.gather(lid_shadow(seen.scatter(eye), seen.density))[eye]
        openness[eye] = 1 - 0.62 * shade_of_lid
    radiance = illuminate(scene.light, bumpy, colour, gloss, openness, seen)
    return radiance + (glint * _strength(scene.light))[:, None], normal


def illuminate(
    light: np.ndarray,
    normal: np.ndarray,
    colour: np.ndarray,
    gloss: np.ndarray,
    openness: np.ndarray,
    seen: Fragments,
) -> np.ndarray:
    """Lambert's irradiance from nine bands, darkened by hollows and a cast shadow, and a broad highlight."""
    towards = sh.main_direction(light)
    shadow = seen.gather(cast_shadow(seen.height, seen.density, towards))
    direct = _directness(light)
    received = sh.irradiance(light, normal) * (openness * (1 - 0.75 * direct * shadow))[:, None]
    middle = towards + np.array([0, 0, 1], np.float32)
    middle /= np.linalg.norm(middle)
    facing = np.clip(normal @ middle, 0, 1)
    shine = gloss[0] * facing ** gloss[1] * _strength(light) * (1 - shadow) * openness
    return (colour * received + shine[:, None]).astype(np.float32)


def _directness(light: np.ndarray) -> float:
    """Share of the light that comes from one side, in [0, 1]: linear bands against the constant one."""
    luminance = light @ _LUMINANCE
    return float(min(1.0, np.linalg.norm(luminance[1:4]) / max(1e-6, 1.7 * abs(luminance[0]))))


def _strength(light: np.ndarray) -> float:
    """Irradiance over pi on a surface that faces the main light."""
    return float(sh.irradiance(light, sh.main_direction(light)[None])[0] @ _LUMINANCE)


def _paint_skin(
    scene: Scene,
    actions: Actions,
    seen: Fragments,
    colour: np.ndarray,
    bumpy: np.ndarray,
    gloss: np.ndarray,
) -> None:
    skin = seen.of("skin", "ear")
    chart = seen.chart[skin]
    crease = np.zeros(len(seen.pixel), np.float32)
    crease[skin] = creases(scene.person, actions, chart)
    paint = albedo(scene.person, chart)
    # Creases keep some of the red of the blood below.
    paint = paint * (1 - crease[skin, None] * np.array([0.45, 0.58, 0.62], np.float32))
    inner = np.clip(seen.rim[skin], 0, 1)[:, None]
    wet = np.array([0.30, 0.10, 0.09], np.float32)
    colour[skin] = paint * (1 - 0.6 * inner) + 0.6 * inner * np.minimum(wet, paint)
    gloss[:, skin] = np.array(_GLOSS["skin"], np.float32)[:, None]
    bumpy[:] = _engrave(seen, bumpy, crease)


def _engrave(seen: Fragments, normal: np.ndarray, crease: np.ndarray) -> np.ndarray:
    """Tilt the normals as if the creases were cut into the skin."""
    depth = seen.scatter(crease)
    slope_down, slope_right = np.gradient(depth)
    tilt = np.stack([seen.gather(slope_right), -seen.gather(slope_down)], axis=1)
    tilt *= np.float32(0.16 * seen.density)
    out = normal.copy()
    out[:, :2] += np.clip(tilt, -0.6, 0.6)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def _paint_hair(scene: Scene, seen: Fragments, colour: np.ndarray, gloss: np.ndarray) -> None:
    hair = seen.of("hair")
    across, along = seen.chart[hair].T
    strand = strands(across, along)
    shine = np.float32(1.0) + np.float32(0.28) * strand
    colour[hair] = scene.person.hair * np.clip(shine, 0.35, 1.7)[:, None]
    strength, power = _GLOSS["hair"]
    gloss[0, hair] = strength * np.clip(0.6 + 0.5 * strand, 0, 2) * (0.35 + scene.person.hair.mean())
    gloss[1, hair] = power


def _enamel(arc: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Albedo float32 [n, 3] of teeth and gums `arc` cm from the midline, `height` cm from the biting edge."""
    gap = np.abs(np.abs(arc)[:, None] - _GAPS).min(axis=1)
    tooth = np.array([0.82, 0.77, 0.68], np.float32) * (1 - 0.45 * step(gap, 0.07, 0.01))[:, None]
    gum = step(height + 0.8 * np.clip(0.25 - gap, 0, 0.25), 0.95, 1.1)[:, None]
    return (tooth + (np.array([0.48, 0.20, 0.19], np.float32) - tooth) * gum).astype(np.float32)


def strands(across: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Noise about N(0, 1) that runs along hairs, for places in cm across and along them."""
    rows, columns = _STRANDS.shape
    row = (np.asarray(along) * 16).astype(np.int64) % rows
    column = (np.asarray(across) * 22).astype(np.int64) % columns
    return _STRANDS[row, column]


def _paint_mouth(
    surface: Surface, seen: Fragments, colour: np.ndarray, gloss: np.ndarray, openness: np.ndarray
) -> None:
    """Teeth, tongue and the dark behind, darker the further they lie behind the lips."""
    inside = seen.of(*_INSIDE)
    if not inside.any():
        return
    front = surface.landmarks[60:68, 2].max()
    behind = np.clip(front - seen.head[inside, 2], 0, None)
    openness[inside] = (0.4 + 0.6 * openness[inside]) * np.clip(1.25 * np.exp(-behind / 3.0), 0.05, 1)
    teeth = seen.of("teeth_upper", "teeth_lower")
    colour[teeth] = _enamel(*seen.chart[teeth].T)
    openness[teeth] = np.maximum(openness[teeth], 0.35)
    gloss[:, teeth] = np.array(_GLOSS["teeth"], np.float32)[:, None]
    tongue = seen.of("tongue")
    colour[tongue] = np.array([0.42, 0.15, 0.14], np.float32)
    gloss[:, tongue] = np.array(_GLOSS["wet"], np.float32)[:, None]
    cavity = seen.of("cavity")
    depth = step(behind, 0.3, 2.5)[cavity[inside], None]
    colour[cavity] = np.array([0.20, 0.06, 0.06], np.float32) * (1 - 0.8 * depth)
