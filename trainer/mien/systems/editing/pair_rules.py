"""Which two pictures of a video make a training pair (magicface spec, 2: pair rules)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
"""Action units of an editor, in the order of its vector (DISFA's; magicface spec, 1)."""

FULL = 5.0
"""Highest intensity of a unit in vectors: FACS level E. Rigs count 0 to 1."""


@dataclass(frozen=True)
class PairRules:
    """What makes a useful pair; intensities 0..5."""

    change: float = 1.5
    """Least sum of absolute differences over the units, but for identity pairs."""
    calm: float = 2.5
    """A face whose intensities sum to less is near neutral."""
    calm_share: float = 0.1
    """Largest share of pairs of two faces near neutral."""
    identity: float = 0.05
    """Share of pairs of a picture with itself, so that no difference means no edit."""
    rare: tuple[int, ...] = (9, 15, 20)
    """Units that videos show seldom."""
    rare_gain: float = 3.0
    """How much likelier a pair that moves one of them by a level or more is taken."""


def choose(
    vectors: np.ndarray, count: int, rng: np.random.Generator, rules: PairRules
) -> list[tuple[int, int]]:
    """Pairs (source, target) of pictures of one person, both directions, none twice.

    Args:
        vectors: float [F, 12], intensities 0..5 of each picture, units as `UNITS`.
        count: pairs wanted; fewer come back where there are no more that fit.
        rng: source of the choice.
        rules: what fits.

    Raises:
        ValueError: for vectors of another shape.
    """
    if vectors.ndim != 2 or vectors.shape[1] != len(UNITS):
        raise ValueError(f"vectors are [F, {len(UNITS)}], not {[*vectors.shape]}")
    frames = len(vectors)
    same = [(int(i), int(i)) for i in rng.permutation(frames)[: round(rules.identity * count)]]
    first, second = (place.ravel() for place in np.meshgrid(range(frames), range(frames), indexing="ij"))
    delta = vectors[second] - vectors[first]
    calm = vectors.sum(1) < rules.calm
    both = calm[first] & calm[second]
    fits = np.abs(delta).sum(1) >= rules.change
    moved = [UNITS.index(unit) for unit in rules.rare]
    gain = np.where((np.abs(delta[:, moved]) >= 1).any(1), rules.rare_gain, 1.0)
    # Gumbel's trick: sampling without replacement in proportion to the gain.
    order = np.argsort(-(np.log(gain) + rng.gumbel(size=len(gain))))
    taken, left = list(same), round(rules.calm_share * count)
    for place in order:
        if len(taken) == count:
            break
        if not fits[place] or (both[place] and left == 0):
            continue
        left -= int(both[place])
        taken.append((int(first[place]), int(second[place])))
    return [taken[place] for place in rng.permutation(len(taken))]
