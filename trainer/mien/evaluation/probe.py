"""Class-balanced logistic regression whose strength of regularisation is chosen on its own training samples.

One estimator serves the linear probe, the few shots and the HOG baseline: it standardises features by the
training samples. Rows differ in the features and in how C is chosen: on folds of people or of the shots.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from mien.errors import DataError
from mien.evaluation.metrics import binary_counts, confusion_counts, mean_binary_f1, uar

Floats = npt.NDArray[np.floating]

STRENGTHS = (3e-5, 1e-4, 3e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse regularisation C tried on the folds; features are standardised first, so one grid fits all."""

UNIT_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
"""The coarser grid of the action-unit probe, which fits one classifier per unit and value."""

SHOT_STRENGTH = 3.0
"""C x D of few shots, D features. A standardised row has squared length D, so C x D fits towers of any width.

`python -m mien.reproduce shots` prints UAR over C; on synthetic sets this was the best value at each of 1 to
16 shots, or within half a point of it.
"""

SHOT_STRENGTHS = (0.03, 0.3, SHOT_STRENGTH, 30.0, 300.0)
"""C x D tried on the folds of few shots."""


@dataclass(frozen=True)
class Probe:
    """A fitted classifier with the C that the folds chose."""

    model: Pipeline
    strength: float

    def probabilities(self, features: Floats) -> Floats:
        """Class (or per-unit) probabilities, [N, C]."""
        return self.model.predict_proba(features)


def fit_classes(
    features: Floats,
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[np.str_],
    *,
    folds: int = 5,
    seed: int = 0,
) -> Probe:
    """L-BFGS multinomial regression on standardised features; C with the best mean UAR over folds of people.

    Args:
        features: [N, D].
        labels: class numbers 0..C-1, [N]; every class has a sample.
        groups: person of each sample, [N].
        folds: at most this many, fewer when there are fewer people.
        seed: of the fold assignment.

    Raises:
        DataError: with fewer than two classes.
    """
    classes = _count(labels)

    def score(model: Pipeline, held: npt.NDArray[np.int64]) -> float:
        found = model.predict(features[held])
        return float(uar(confusion_counts(labels[held], found, classes).sum(0)))

    count = min(folds, len(np.unique(groups)))
    splits = []
    if count >= 2:
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        splits = list(splitter.split(features, _foldable(labels, count), groups))
    return _choose(features, labels, splits, STRENGTHS, _classifier, score)


def fit_shots(features: Floats, labels: npt.NDArray[np.int64], *, folds: int = 5, seed: int = 0) -> Probe:
    """`fit_classes` for a few samples a class; C by stratified cross-validation on these samples alone.

    A handful of held-out samples cannot tell good values apart: of those within one standard error of the
    best held-out accuracy it takes the nearest to `SHOT_STRENGTH`, which is also C of one sample a class.

    Args:
        features: [N, D].
        labels: class numbers 0..C-1, [N]; every class has a sample, two or more have.
        folds: at most this many, fewer when no class has as many samples.
        seed: of the fold assignment.

    Raises:
        DataError: with fewer than two classes.
    """
    _count(labels)
    width = features.shape[1]
    count = min(folds, int(np.bincount(labels).max()))
    splits = []
    if count >= 2:
        splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
        splits = list(splitter.split(features, _foldable(labels, count)))
    # Of rare classes a fold may hold the only sample: what is left must still be two classes.
    splits = [(fit, held) for fit, held in splits if len(np.unique(labels[fit])) > 1]
    best = _near_the_usual(features, labels, splits) if splits else SHOT_STRENGTH
    return fit_at(best / width, features, labels)


def fit_at(strength: float, features: Floats, labels: npt.NDArray[np.int64]) -> Probe:
    """The classifier of `fit_classes` and `fit_shots` at a given C, however few samples there are.

    Args:
        strength: C.
        features: [N, D].
        labels: class numbers, [N], of two classes or more.
    """
    with warnings.catch_warnings():
        # With one or two samples a class it takes them for values of a regression, and says so each time.
        warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%")
        return Probe(_classifier(strength).fit(features, labels), strength)


def _count(labels: npt.NDArray[np.int64]) -> int:
    classes = int(labels.max()) + 1 if len(labels) else 0
    if classes < 2:
        raise DataError(
            "a probe needs at least two classes", where="train set", fix="give --train another set"
        )
    return classes


def _near_the_usual(
    features: Floats,
    labels: npt.NDArray[np.int64],
    splits: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
) -> float:
    """C x D within one standard error of the best held-out accuracy and nearest to `SHOT_STRENGTH`."""
    right = np.zeros(len(SHOT_STRENGTHS))
    for place, strength in enumerate(SHOT_STRENGTHS):
        for fit, held in splits:
            model = fit_at(strength / features.shape[1], features[fit], labels[fit]).model
            right[place] += (model.predict(features[held]) == labels[held]).sum()
    total = sum(len(held) for _, held in splits)
    share = right / total
    good = share >= share.max() - np.sqrt(share.max() * (1 - share.max()) / total) - 1e-12
    return min(np.array(SHOT_STRENGTHS)[good], key=lambda c: abs(np.log(c / SHOT_STRENGTH))).item()


def fit_units(
    features: Floats, present: npt.NDArray[np.bool_], groups: npt.NDArray[np.str_], *, folds: int = 3
) -> Probe:
    """One class-balanced logistic regression per action unit, decided at 0.5; C is shared by all units.

    Args:
        features: [N, D].
        present: presence of each unit, [N, U]; every unit is both present and absent somewhere.
        groups: person of each sample, [N].
        folds: at most this many; C with the best mean F1 over folds of people.
    """
    targets = present.astype(np.int64)

    def score(model: Pipeline, held: npt.NDArray[np.int64]) -> float:
        found = np.asarray(model.predict_proba(features[held])) >= 0.5
        return float(mean_binary_f1(binary_counts(present[held], found).sum(0)))

    count = min(folds, len(np.unique(groups)))
    splits = list(GroupKFold(count).split(features, groups=groups)) if count >= 2 else []
    splits = [
        (fit, held) for fit, held in splits if present[fit].any(0).all() and not present[fit].all(0).any()
    ]
    return _choose(features, targets, splits, UNIT_STRENGTHS, lambda c: _classifier(c, per_unit=True), score)


def _choose(
    features: Floats,
    targets: npt.NDArray[np.int64],
    splits: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
    strengths: tuple[float, ...],
    make: Callable[[float], Pipeline],
    score: Callable[[Pipeline, npt.NDArray[np.int64]], float],
) -> Probe:
    """Best mean score over the splits (the smallest C of equals), refitted on everything."""
    best = strengths[len(strengths) // 2]
    if splits:
        means = [
            np.mean([score(make(c).fit(features[fit], targets[fit]), held) for fit, held in splits])
            for c in strengths
        ]
        best = strengths[int(np.argmax(means))]
    return Probe(make(best).fit(features, targets), best)


def _classifier(strength: float, per_unit: bool = False) -> Pipeline:
    regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=500, tol=1e-3)
    return make_pipeline(StandardScaler(), OneVsRestClassifier(regression) if per_unit else regression)


def _foldable(labels: npt.NDArray[np.int64], folds: int) -> npt.NDArray[np.int64]:
    """Strata of the folds: classes too rare to reach every fold count as the most frequent one."""
    counts = np.bincount(labels)
    return np.where(counts[labels] >= folds, labels, counts.argmax())
