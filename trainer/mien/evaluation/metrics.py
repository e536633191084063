"""Metrics as functions of counts that add up over samples, and their bootstrap intervals over people.

Every metric here can be read off the sum of a small row of counts per sample. So one resampling of people is
one row of weights, and a thousand of them are one matrix product: no loop, no re-scoring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Statistic = Callable[[Array], Array]
"""From sums of counts [..., K] to metric values [...]."""

CHUNK = 64
"""Resamplings scored at once: bounds memory to CHUNK x people x K floats whatever `n` is."""


@dataclass(frozen=True)
class Interval:
    """A metric with its 95 % bootstrap interval; all three are fractions in [0, 1]."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    statistic: Statistic, counts: Array, groups: Sequence[str], *, n: int = 1000, seed: int = 0
) -> Interval:
    """Percentile interval (2.5 %, 97.5 %) from resampling whole people with replacement.

    Photographs of one person are not independent, so people are drawn, not photographs.

    Args:
        statistic: from summed counts [..., K] to values [...]; NaN where undefined.
        counts: additive counts per sample, [N, K].
        groups: person of each sample, length N.
        n: number of resamplings.
        seed: of the resampling.
    """
    return bootstrap_draws(statistic, counts[None], groups, n=n, seed=seed)


def bootstrap_draws(
    statistic: Statistic, counts: Array, groups: Sequence[str], *, n: int = 1000, seed: int = 0
) -> Interval:
    """The mean over draws of a training set, with an interval from resampling draws and people together.

    Each resampling takes one draw, and people with replacement. So the interval is of what one draw of the
    training set gives on other people: it holds the spread between draws whole, however many draws there are.
    The draws take turns, which is drawing them at random without the noise of that.

    Args:
        statistic: from summed counts [..., K] to values [...]; NaN where undefined.
        counts: additive counts per draw and sample, [S, N, K]; the samples are the same in all draws.
        groups: person of each sample, length N.
        n: number of resamplings.
        seed: of the resampling.
    """
    people, person = np.unique(np.asarray(groups), return_inverse=True)
    summed = np.zeros((len(counts), len(people), counts.shape[2]))
    for place, one in enumerate(counts):
        np.add.at(summed[place], person, one)
    rng = np.random.default_rng(seed)
    uniform = np.full(len(people), 1 / len(people))
    found = []
    for start in range(0, n, CHUNK):
        weights = rng.multinomial(len(people), uniform, size=min(CHUNK, n - start)).astype(np.float64)
        turn = np.arange(start, start + len(weights)) % len(summed)
        found += [statistic(weights[turn == place] @ one) for place, one in enumerate(summed)]
    low, high = np.nanquantile(np.concatenate(found), (0.025, 0.975))
    return Interval(float(statistic(summed.sum(1)).mean()), float(low), float(high))


def confusion_counts(
    labels: npt.NDArray[np.int64], predictions: npt.NDArray[np.int64], classes: int
) -> Array:
    """One-hot of (label, prediction) per sample, [N, classes * classes]; labels are the rows."""
    counts = np.zeros((len(labels), classes * classes))
    counts[np.arange(len(labels)), labels * classes + predictions] = 1
    return counts


def _matrix(counts: Array) -> Array:
    classes = round(counts.shape[-1] ** 0.5)
    return counts.reshape(*counts.shape[:-1], classes, classes)


def _mean_where(values: Array, present: npt.NDArray[np.bool_]) -> Array:
    """Mean over the last axis of the entries that are present; NaN where none is."""
    total = np.where(present, values, 0.0).sum(-1)
    return np.divide(total, present.sum(-1), out=np.full(total.shape, np.nan), where=present.any(-1))


def _ratio(top: Array, bottom: Array) -> Array:
    return np.divide(
        top, bottom, out=np.zeros(np.broadcast_shapes(top.shape, bottom.shape)), where=bottom > 0
    )


def uar(counts: Array) -> Array:
    """Unweighted average recall from confusion counts [..., C * C]; classes without samples are left out."""
    matrix = _matrix(counts)
    support = matrix.sum(-1)
    return _mean_where(_ratio(np.diagonal(matrix, axis1=-2, axis2=-1), support), support > 0)


def war(counts: Array) -> Array:
    """Weighted average recall, that is accuracy, from confusion counts [..., C * C]."""
    matrix = _matrix(counts)
    return _ratio(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum((-2, -1)))


def macro_f1(counts: Array) -> Array:
    """Mean F1 over the classes that have test samples, from confusion counts [..., C * C]."""
    matrix = _matrix(counts)
    support = matrix.sum(-1)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    return _mean_where(_ratio(2 * hits, support + matrix.sum(-2)), support > 0)


def binary_counts(truth: npt.NDArray[np.bool_], predicted: npt.NDArray[np.bool_]) -> Array:
    """Per sample and binary task [N, T]: hits, predictions and positives side by side, [N, 3 * T]."""
    return np.concatenate([truth & predicted, predicted, truth], axis=1).astype(np.float64)


def binary_f1(counts: Array) -> Array:
    """F1 of each binary task, [..., T], from `binary_counts`; 0 where nothing is true nor predicted."""
    hits, predicted, positive = np.split(counts, 3, axis=-1)
    return _ratio(2 * hits, predicted + positive)


def mean_binary_f1(counts: Array) -> Array:
    """Mean F1 over the tasks that have positives, from `binary_counts`."""
    return _mean_where(binary_f1(counts), np.split(counts, 3, axis=-1)[2] > 0)


def reliability_counts(
    confidence: npt.NDArray[np.floating], correct: npt.NDArray[np.bool_], bins: int = 15
) -> Array:
    """Per sample its membership, confidence and correctness in equal bins of (0, 1], [N, 3 * bins]."""
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    member = np.eye(bins)[place]
    return np.concatenate([member, member * confidence[:, None], member * correct[:, None]], axis=1)


def ece(counts: Array) -> Array:
    """Expected calibration error from `reliability_counts` (Guo et al. 2017, arXiv 1706.04599)."""
    member, confidence, correct = np.split(counts, 3, axis=-1)
    return _ratio(np.abs(confidence - correct).sum(-1), member.sum(-1))


def hit_counts(hits: npt.NDArray[np.bool_]) -> Array:
    """Per query: whether it was a hit, and one, [N, 2]; for `hit_rate`."""
    return np.stack([hits.astype(np.float64), np.ones(len(hits))], axis=1)


def hit_rate(counts: Array) -> Array:
    """Share of hits from `hit_counts`."""
    return _ratio(counts[..., 0], counts[..., 1])


def score_classes(
    labels: npt.NDArray[np.int64],
    predictions: npt.NDArray[np.int64],
    classes: int,
    groups: Sequence[str],
    probabilities: npt.NDArray[np.floating] | None = None,
    seed: int = 0,
) -> dict[str, Interval]:
    """`uar`, `war`, `macro_f1` and, given class probabilities [N, C], `ece`, each with its interval."""
    counts = confusion_counts(labels, predictions, classes)
    scores = {
        name: bootstrap(statistic, counts, groups, seed=seed)
        for name, statistic in (("uar", uar), ("war", war), ("macro_f1", macro_f1))
    }
    if probabilities is not None:
        bins = reliability_counts(probabilities.max(1), predictions == labels)
        scores["ece"] = bootstrap(ece, bins, groups, seed=seed)
    return scores
