"""A person of the face world: everything that stays the same from picture to picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.faces.actions import ACTION_UNITS, Actions

SHAPE_SIZE = 50
"""Length of `Person.shape`; a rig uses as many of the leading coefficients as it has modes."""

HAIR_STYLES = ("bald", "receding", "short", "side_part", "fringe", "curly", "bob", "long", "tied")
"""Hair styles of the built-in head; each sets hair line, volume and whether hair hangs down."""

_HAIR_COLOURS = np.array(
    [
        [0.035, 0.028, 0.025],  # black
        [0.075, 0.048, 0.032],  # dark brown
        [0.16, 0.095, 0.055],  # brown
        [0.36, 0.25, 0.13],  # dark blond
        [0.56, 0.43, 0.25],  # blond
        [0.30, 0.11, 0.045],  # red
        [0.50, 0.49, 0.47],  # grey
    ],
    np.float32,
)
_IRIS_COLOURS = np.array(
    [[0.07, 0.035, 0.02], [0.16, 0.08, 0.03], [0.20, 0.18, 0.07], [0.15, 0.24, 0.15], [0.16, 0.26, 0.38]],
    np.float32,
)


@dataclass(frozen=True)
class Person:
    """Identity of one face. Colours are linear RGB albedos in [0, 1].

    Attributes:
        seed: the number the person was drawn from.
        shape: float32 [SHAPE_SIZE], identity coefficients ~ N(0, 1).
        melanin: skin pigment in [0, 1], 0 is the lightest skin.
        blood: redness of skin, cheeks and lips in [0, 1].
        age: lasting lines and slack skin in [0, 1].
        freckles: density in [0, 1].
        beard: beard shadow in [0, 1]; 1 is a full short beard.
        lips: added redness of the lips in [0, 1] (make-up).
        brow_size: thickness factor of the brows, about 0.6 to 1.6.
        brow: albedo of the brow hair.
        hair_style: one of `HAIR_STYLES`.
        hair: albedo of the hair.
        iris: albedo of the iris.
        resting: tone of the face: small intensities that add to every action, unlike on both sides.
        gain: strength of the left and right half of the face, at most 1.
    """

    seed: int
    shape: np.ndarray
    melanin: float
    blood: float
    age: float
    freckles: float
    beard: float
    lips: float
    brow_size: float
    brow: np.ndarray
    hair_style: str
    hair: np.ndarray
    iris: np.ndarray
    resting: Actions
    gain: tuple[float, float]

    def act(self, actions: Actions) -> Actions:
        """What this face shows when it does `actions`: gains applied, resting tone added, cut to [0, 1]."""
        gains = (self.gain if ACTION_UNITS[n].lateral else (max(self.gain),) * 2 for n in ACTION_UNITS)
        left: dict[int, float] = {}
        right: dict[int, float] = {}
        for number, (gain_left, gain_right) in zip(ACTION_UNITS, gains):
            for side, gain, given, rest in (
                (left, gain_left, actions.left, self.resting.left),
                (right, gain_right, actions.right, self.resting.right),
            ):
                value = gain * given.get(number, 0.0) + rest.get(number, 0.0)
                if value > 0:
                    side[number] = min(value, 1.0)
        return Actions(left, right)


def sample_person(seed: int) -> Person:
    """Draw a person; the same seed gives the same person."""
    rng = np.random.default_rng([seed, 0x6D69656E])
    melanin = float(rng.beta(1.1, 1.5))
    age = float(rng.beta(1.3, 2.0))
    hair_style = str(rng.choice(HAIR_STYLES, p=[0.06, 0.10, 0.22, 0.14, 0.12, 0.10, 0.10, 0.10, 0.06]))
    hair = _hair_colour(rng, melanin, age)
    beard = float(rng.choice([0.0, rng.uniform(0.1, 0.5), rng.uniform(0.6, 1.0)], p=[0.62, 0.24, 0.14]))
    if hair_style in ("bob", "long", "tied"):
        beard = 0.0
    brow = np.minimum(hair, 0.22) * 0.8
    dark_iris = min(0.95, 0.35 + melanin)
    iris = _IRIS_COLOURS[rng.choice(5, p=[dark_iris * 0.6, dark_iris * 0.4, *([(1 - dark_iris) / 3] * 3)])]
    resting = {
        n: float(rng.uniform(0, top))
        for n, top in ((1, 0.06), (2, 0.08), (4, 0.1), (7, 0.08), (12, 0.06), (15, 0.06), (17, 0.05))
    }
    return Person(
        seed=seed,
        shape=rng.standard_normal(SHAPE_SIZE).clip(-2.5, 2.5).astype(np.float32),
        melanin=melanin,
        blood=float(rng.uniform(0.1, 0.9)),
        age=age,
        freckles=float(rng.uniform(0.3, 1) if melanin < 0.35 and rng.random() < 0.25 else 0.0),
        beard=beard,
        lips=float(rng.uniform(0.3, 1) if beard == 0 and rng.random() < 0.3 else 0.0),
        brow_size=float(rng.uniform(0.75, 1.35)),
        brow=brow,
        hair_style=hair_style,
        hair=hair,
        iris=(iris * rng.uniform(0.8, 1.25)).astype(np.float32),
        resting=Actions.of(resting, asymmetry=float(rng.uniform(-0.6, 0.6))),
        gain=(1.0, float(rng.uniform(0.9, 1.0)))
        if rng.random() < 0.5
        else (float(rng.uniform(0.9, 1.0)), 1.0),
    )


def _hair_colour(rng: np.random.Generator, melanin: float, age: float) -> np.ndarray:
    weights = np.array([0.2 + 2 * melanin, 0.6, 0.5, 0.4, 0.35, 0.15, 0.0]) * np.array(
        [1, 1, *(np.array([1.0, 1.0, 1.0, 1.0]) * max(0.02, 1 - 1.8 * melanin)), 1]
    )
    colour = _HAIR_COLOURS[rng.choice(7, p=weights / weights.sum())] * rng.uniform(0.8, 1.2)
    grey = max(0.0, age - 0.5) * 2 * rng.random()
    return ((1 - grey) * colour + grey * _HAIR_COLOURS[6]).astype(np.float32)
