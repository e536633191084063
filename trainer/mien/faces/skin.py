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
    colour = _bare(base, melanin, blood, age, rng)
    if freckles > 0:
        _mix(colour, base * _rgb(0.55, 0.4, 0.38), spots(rng) * freckles * 0.75)
    _mix(colour, _lip_colour(base, melanin, blood, lips), m["lips"] * (0.78 + 0.2 * lips))
    _mix(colour, base * _rgb(0.35, 0.22, 0.2), m["lip_line"] * 0.9)
    _mix(colour, base * 0.12, m["nostril"])
    _mix(colour, base * _rgb(0.6, 0.48, 0.46), m["lid_crease"] * (0.75 + 0.2 * age))
    head_hair = np.frombuffer(hair, np.float32)
    if beard > 0:
        grain = 1 + 0.25 * noise((SIZE, SIZE), (300, 220), rng)
        _mix(colour, head_hair * 0.6 + 0.008, m["beard"] * grain * min(0.9, 0.08 + 0.85 * beard))
    _mix(colour, np.minimum(np.frombuffer(brow, np.float32), base * 0.36), brow_mask(brow_size, rng))
    _mix(colour, _rgb(0.02, 0.02, 0.02), m["lash"] * 0.92)
    if hair_style != "bald":
        _mix(colour, head_hair, hair_mask(hair_style) * (0.75 if hair_style == "receding" else 0.95))
    return np.clip(colour, 0.002, 0.95)


def _bare(base: np.ndarray, melanin: float, blood: float, age: float, rng: np.random.Generator) -> np.ndarray:
    """Skin without hair and lips: blotches of pigment, flushed cheeks and nose, shadows at the eyes."""
    m = masks()
    flush = (0.12 + 0.5 * blood) * (1 - 0.55 * melanin)
    tired = (0.18 + 0.35 * age) * m["under_eye"] + 0.22 * m["socket"]
    mottle = noise((SIZE, SIZE), (26, 26), rng) * np.float32(0.03 + 0.02 * age) * m["inner"]
    fine = noise((SIZE, SIZE), (120, 120), rng) * np.float32(0.025) * m["inner"]
    layers = np.stack([mottle, fine, m["flush"] * np.float32(flush), tired.astype(np.float32)], axis=-1)
    swallowed = np.array([[0.3, 1.0, 0.9], [1, 1, 1], [-0.08, -0.42, -0.36], [-0.55, -0.8, -0.7]], np.float32)
    return base * np.exp(layers @ swallowed)


def _rgb(red: float, green: float, blue: float) -> np.ndarray:
    return np.array([red, green, blue], np.float32)


def _mix(colour: np.ndarray, other: np.ndarray, weight: np.ndarray) -> None:
    """Blend the colour `other` [3] into `colour` [SIZE, SIZE, 3] by `weight`, cut to [0, 1], in place."""
    rows, columns = (np.flatnonzero(weight.max(axis=axis) > 1e-3) for axis in (1, 0))
    if len(rows) == 0:
        return
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    w = np.clip(weight[box], 0, 1).astype(np.float32)[..., None]
    colour[box] += (other - colour[box]) * w


def _lip_colour(base: np.ndarray, melanin: float, blood: float, lips: float) -> np.ndarray:
    natural = (
        base
        * np.array([0.88, 0.55, 0.58], np.float32)
        * (1 - 0.25 * blood * np.array([0.1, 1, 1], np.float32))
    )
    painted = np.array([0.42, 0.045, 0.06], np.float32) * (1 - 0.35 * melanin)
    return (natural + (painted - natural) * lips).astype(np.float32)
