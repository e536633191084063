"""Colour of the skin over the chart of the built-in head: pigment, blood, lips, brows, lashes, beard, spots.

All masks that do not depend on the person are painted once; a person's texture mixes them and is kept.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mien.faces.actions import Actions
from mien.faces.fields import noise
from mien.faces.person import Person
from mien.faces.skin_creases import crease_map
from mien.faces.skin_masks import SIZE, brow_mask, hair_mask, masks, sample_texture, spots

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def skin_tone(melanin: float, blood: float) -> np.ndarray:
    """Linear RGB albedo float32 [3] of skin with `melanin` and `blood` in [0, 1]."""
    light = np.array([0.66, 0.43, 0.33])
    # Beer-Lambert: melanin swallows blue most; blood swallows green and blue.
    dark = np.exp(-melanin * np.array([1.75, 2.25, 2.6]))
    red = np.exp(-(blood - 0.4) * np.array([0.02, 0.22, 0.2]))
    return (light * dark * red + 0.004).astype(np.float32)


def albedo(person: Person, chart: np.ndarray) -> np.ndarray:
    """Skin albedo of `person` at `chart` positions.

    Args:
        person: whose skin.
        chart: float32 [n, 2], (u, v) as in `mien.faces.head_surface`.

    Returns:
        float32 [n, 3], linear RGB in [0, 1].
    """
    return sample_texture(texture(person), chart)


def creases(person: Person, actions: Actions, chart: np.ndarray) -> np.ndarray:
    """Darkening of the skin by the folds that `actions` and age press into it, float32 [n] in [0, 1].

    Args:
        person: whose skin; age deepens lasting lines and those of action.
        actions: what the face shows, tone and gains applied already.
        chart: float32 [n, 2], (u, v).
    """
    return np.clip(sample_texture(crease_map(actions, person.age)[..., None], chart)[:, 0], 0.0, 1.0)


def texture(person: Person) -> np.ndarray:
    """Albedo of `person`, float32 [SIZE, SIZE, 3]: rows with v downwards, columns with u ascending."""
    key = (
        person.seed, person.melanin, person.blood, person.age, person.freckles, person.beard, person.lips,
        person.brow_size, person.hair_style, person.brow.tobytes(), person.hair.tobytes(),
    )  # fmt: skip
    return _texture(*key)


@lru_cache(maxsize=48)
def _texture(
    seed: int, melanin: float, blood: float, age: float, freckles: float, beard: float, lips: float,
    brow_size: float, hair_style: str, brow: bytes, hair: bytes,
) -> np.ndarray:  # fmt: skip
    rng = np.random.default_rng([seed, 77])
    m = masks()
    base = skin_tone(melanin, blood)
    colour = np.repeat(np.repeat(base[None, None], SIZE, 0), SIZE, 1)
    # Blotches of pigment and blood, the flush of cheeks, nose and ears, shadows under the eyes.
    mottle = noise((SIZE, SIZE), (26, 26), rng)[..., None] * (0.03 + 0.02 * age)
    fine = noise((SIZE, SIZE), (120, 120), rng)[..., None] * 0.025
    mottle, fine = mottle * m["inner"][..., None], fine * m["inner"][..., None]
    colour *= np.exp(mottle * np.array([0.3, 1.0, 0.9], np.float32) + fine)
    flush = (0.12 + 0.5 * blood) * (1 - 0.55 * melanin)
    colour *= np.exp(-flush * m["flush"][..., None] * np.array([0.08, 0.42, 0.36], np.float32))
    tired = (0.18 + 0.35 * age) * m["under_eye"] + 0.22 * m["socket"]
    colour *= np.exp(-tired[..., None] * np.array([0.55, 0.8, 0.7], np.float32))
    colour = _mix(colour, base * np.array([0.55, 0.4, 0.38], np.float32), spots(rng) * freckles * 0.75)
    colour = _mix(colour, _lip_colour(base, melanin, blood, lips), m["lips"] * (0.78 + 0.2 * lips))
    colour = _mix(colour, colour * 0.45, m["lip_line"] * 0.9)
    colour = _mix(colour, base * 0.12, m["nostril"])
    colour = _mix(
        colour, colour * np.array([0.62, 0.5, 0.48], np.float32), m["lid_crease"] * (0.75 + 0.2 * age)
    )
    whiskers = np.frombuffer(hair, np.float32) * 0.7 + 0.008
    grain = 1 + 0.3 * noise((SIZE, SIZE), (300, 220), rng)
    colour = _mix(
        colour, whiskers, np.clip(m["beard"] * grain, 0, 1.1) * min(0.9, 0.08 * (beard > 0) + 0.85 * beard)
    )
    hairs = np.frombuffer(brow, np.float32)
    colour = _mix(colour, np.minimum(hairs, base * 0.45), brow_mask(brow_size, rng))
    colour = _mix(colour, np.full(3, 0.02, np.float32), m["lash"] * 0.92)
    if hair_style != "bald":
        under = np.frombuffer(hair, np.float32)
        colour = _mix(colour, under, hair_mask(hair_style) * (0.75 if hair_style == "receding" else 0.95))
    return np.clip(colour, 0.002, 0.95).astype(np.float32)


def _mix(colour: np.ndarray, other: np.ndarray, weight: np.ndarray) -> np.ndarray:
    w = np.clip(weight, 0, 1)[..., None].astype(np.float32)
    return colour + (other - colour) * w


def _lip_colour(base: np.ndarray, melanin: float, blood: float, lips: float) -> np.ndarray:
    natural = (
        base
        * np.array([0.88, 0.55, 0.58], np.float32)
        * (1 - 0.25 * blood * np.array([0.1, 1, 1], np.float32))
    )
    painted = np.array([0.42, 0.045, 0.06], np.float32) * (1 - 0.35 * melanin)
    return (natural + (painted - natural) * lips).astype(np.float32)
