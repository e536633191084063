"""What a fitted meter's readings are good for: whether it tells sides apart, and from where it may refute.

All of it is decided on readings of people that were not fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.corpus.units import NEVER, UNEVEN, Matrix, Trust
from mien.faces.actions import ACTION_UNITS
from mien.faces.captions import ABSENT, VISIBLE

RISK, SIDES_RISK = 0.01, 0.05
"""Share of true sentences on a unit, and on its sides, that readings may refute.

A caption has some six of the first kind and seldom more than one of the second.
"""

SURE = 0.99
"""Of all bootstrap samples of people, how many must have a correlation of sides above 0."""

LEAST_R = 0.2
"""Least correlation of told and true differences of sides: below, a difference tells next to nothing."""

SAMPLES, LEAST = 400, 40
"""Bootstrap samples; faces from which a quantile is taken."""


Sums = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sides:
    """How well the difference of a unit's sides is read, of people not fitted on.

    Attributes:
        r: correlation of read and true left minus right; 0 where the sides never differ.
        low: the `1 - SURE` quantile of `r` over samples of people.
        share: of the read difference that is told: the slope of the true one on it, in [0, 1]; 0: even sides.
    """

    r: float
    low: float
    share: float


def read_sides(read: Matrix, true: Matrix, people: npt.ArrayLike, lateral: bool = True) -> Sides:
    """Judge one unit's differences.

    Args:
        read: left minus right of each face [N].
        true: the same [N].
        people: whose face it is [N].
        lateral: whether the sides of the unit can differ at all.
    """
    if not lateral or np.ptp(read) == 0 or np.ptp(true) == 0:
        return Sides(0.0, 0.0, 0.0)
    _, owner = np.unique(np.asarray(people), return_inverse=True)
    parts = _moments(read.astype(np.float64), true.astype(np.float64))
    sums: Sums = np.stack([np.bincount(owner, part).astype(np.float64) for part in parts])
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(sums.shape[1], np.full(sums.shape[1], 1 / sums.shape[1]), SAMPLES)
    r, slope = _line(sums.sum(1))
    low = float(np.quantile(_line(sums @ drawn.T)[0], 1 - SURE))
    good = low > 0 and r >= LEAST_R
    return Sides(float(r), low, float(np.clip(slope, 0, 1)) if good else 0.0)


def _moments(x: Sums, y: Sums) -> tuple[Sums, ...]:
    return np.ones_like(x), x, y, x * x, y * y, x * y


def _line(sums: Sums) -> tuple[Sums, Sums]:
    """Correlation, and slope of y on x, from the sums of 1, x, y, xx, yy, xy along the first axis."""
    n, x, y, xx, yy, xy = sums
    shared, wide, high = xy - x * y / n, xx - x * x / n, yy - y * y / n
    return shared / np.sqrt(np.maximum(wide * high, 1e-12)), shared / np.maximum(wide, 1e-12)


def find_trust(
    read: Matrix, true: Matrix, share: float, risk: float = RISK, sides_risk: float = SIDES_RISK
) -> Trust:
    """Limits from which readings of one unit refute a sentence.

    Args:
        read: told intensities [N, 2] of people not fitted on, sides evened as they will be.
        true: true ones [N, 2].
        share: of the sides' difference that is told; 0: nothing is refuted about sides.
        risk: share of true sentences on the unit that may be refuted.
        sides_risk: the same of those that say on which side it is stronger.
    """
    strong, shown = read.max(1), true.max(1)
    low, high, lead = NEVER.low, NEVER.high, NEVER.lead
    if (shown >= VISIBLE).sum() >= LEAST:
        low = float(np.quantile(strong[shown >= VISIBLE], risk))
    if (shown < ABSENT).sum() >= LEAST:
        # A reading at the limit refutes: the next larger number keeps the share below the risk.
        high = float(np.nextafter(np.float32(np.quantile(strong[shown < ABSENT], 1 - risk)), np.float32(2)))
    ahead = np.concatenate([_lead(read, side)[_lead(true, side) >= UNEVEN] for side in (0, 1)])
    if share > 0 and len(ahead) >= LEAST:
        lead = float(np.quantile(ahead, sides_risk))
    return Trust(low, high, lead)


def _lead(sides: Matrix, side: int) -> Matrix:
    return sides[:, side] - sides[:, 1 - side]


def shares_and_limits(
    numbers: tuple[int, ...], told: Matrix, truth: Matrix, people: npt.ArrayLike, risk: float = RISK
) -> tuple[list[Sides], list[Trust]]:
    """`read_sides` and `find_trust` of every unit.

    Args:
        numbers: FACS numbers.
        told: intensities [N, units, 2] of people not fitted on, sides as read.
        truth: the true ones.
        people: [N].
        risk: as in `find_trust`.
    """
    from mien.corpus.units import even

    sides = [
        read_sides(told[:, i] @ _DIFFERENCE, truth[:, i] @ _DIFFERENCE, people, ACTION_UNITS[n].lateral)
        for i, n in enumerate(numbers)
    ]
    shares = np.array([side.share for side in sides], dtype=np.float32)
    evened = even(told, shares)
    trust = [find_trust(evened[:, i], truth[:, i], side.share, risk) for i, side in enumerate(sides)]
    return sides, trust


_DIFFERENCE = np.array([1, -1], dtype=np.float32)
