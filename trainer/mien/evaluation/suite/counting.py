"""Counts of the suite's metrics, additive over samples: folds, intervals and tests share them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from mien.evaluation.metrics import (
    Array,
    Interval,
    Statistic,
    binary_counts,
    binary_f1,
    bootstrap,
    bootstrap_draws,
    mean_binary_f1,
)

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def fold_counts(labels: Ints, predictions: Ints, folds: Ints, classes: int) -> Array:
    """Per sample, for each (fold, class): right and present, [N, 2 * F * C].

    Args:
        labels: class numbers, [N].
        predictions: class numbers, [N].
        folds: fold of each sample, [N], any numbers.
        classes: C.
    """
    _, fold = np.unique(folds, return_inverse=True)
    cells = (int(fold.max()) + 1) * classes
    counts = np.zeros((len(labels), 2, cells))
    rows, place = np.arange(len(labels)), fold * classes + labels
    counts[rows, 0, place] = labels == predictions
    counts[rows, 1, place] = 1
    return counts.reshape(len(labels), 2 * cells)


def _recalls(counts: Array, classes: int) -> tuple[Array, Array]:
    """Hits and support, each [..., F, C]."""
    shaped = counts.reshape(*counts.shape[:-1], 2, -1, classes)
    return shaped[..., 0, :, :], shaped[..., 1, :, :]


def fold_uar(counts: Array, classes: int) -> Array:
    """UAR of each fold over the classes that it has, averaged over folds with samples (section 6.3)."""
    hits, support = _recalls(counts, classes)
    recall = np.divide(hits, support, out=np.zeros_like(hits), where=support > 0)
    return _mean(_mean(recall, support > 0), support.sum(-1) > 0)


def fold_war(counts: Array, classes: int) -> Array:
    """Accuracy of each fold, averaged over folds with samples."""
    hits, support = (part.sum(-1) for part in _recalls(counts, classes))
    return _mean(np.divide(hits, support, out=np.zeros_like(hits), where=support > 0), support > 0)


def _mean(values: Array, present: Bools) -> Array:
    total = np.where(present, values, 0.0).sum(-1)
    return np.divide(total, present.sum(-1), out=np.full(total.shape, np.nan), where=present.any(-1))


def class_intervals(
    labels: Ints, predictions: Ints, folds: Ints, classes: int, groups: Sequence[str], seed: int = 0
) -> dict[str, Interval]:
    """`uar` and `war` averaged over folds, each with its interval over people."""
    return draw_intervals(labels, predictions[None], folds, classes, groups, seed)


def draw_intervals(
    labels: Ints, predictions: Ints, folds: Ints, classes: int, groups: Sequence[str], seed: int = 0
) -> dict[str, Interval]:
    """`uar` and `war`, the mean over draws of the training set, with intervals over draws and people.

    Args:
        labels: class numbers, [N].
        predictions: class numbers of each draw, [S, N].
        folds: fold of each sample, [N].
        classes: C.
        groups: person of each sample, length N.
        seed: of the resampling.
    """
    counts = np.stack([fold_counts(labels, one, folds, classes) for one in predictions])
    return {
        "uar": bootstrap_draws(partial(fold_uar, classes=classes), counts, groups, seed=seed),
        "war": bootstrap_draws(partial(fold_war, classes=classes), counts, groups, seed=seed),
    }


def unit_counts(truth: Bools, predicted: Bools, known: Bools) -> Array:
    """Per sample and unit: hits, predictions, positives, right, annotated, [N, 5 * U].

    What is not annotated counts nowhere.
    """
    f1 = binary_counts(truth & known, predicted & known)
    return np.concatenate([f1, (truth == predicted) & known, known], axis=1).astype(np.float64)


def unit_f1(counts: Array) -> Array:
    """Mean F1 over the units that have positives, from `unit_counts`."""
    return mean_binary_f1(counts[..., : counts.shape[-1] // 5 * 3])


def unit_accuracy(counts: Array) -> Array:
    """Mean accuracy over the units that are annotated, from `unit_counts`."""
    right, known = np.split(counts[..., counts.shape[-1] // 5 * 3 :], 2, axis=-1)
    return _mean(np.divide(right, known, out=np.zeros_like(right), where=known > 0), known > 0)


def unit_intervals(
    units: Sequence[int], truth: Bools, predicted: Bools, known: Bools, groups: Sequence[str], seed: int = 0
) -> dict[str, Interval]:
    """`au_f1`, `accuracy` and `f1_auN` of each unit with positives, with intervals over people."""
    counts = unit_counts(truth, predicted, known)
    found = {
        "au_f1": bootstrap(unit_f1, counts, groups, seed=seed),
        "accuracy": bootstrap(unit_accuracy, counts, groups, seed=seed),
    }
    for place, number in enumerate(units):
        if (truth & known)[:, place].any():
            found[f"f1_au{number}"] = bootstrap(_one_unit(place), counts, groups, seed=seed)
    return found


def _one_unit(place: int) -> Statistic:
    return lambda counts: binary_f1(counts[..., : counts.shape[-1] // 5 * 3])[..., place]
