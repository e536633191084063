"""Baselines that sit in the table of every protocol: majority class and HOG with logistic regression."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage.feature import hog

from mien.errors import DataError
from mien.evaluation.faceset import FaceSet
from mien.evaluation.metrics import score_classes
from mien.evaluation.probe import fit_classes
from mien.evaluation.report import Predictions, Row

SIDE, CELL = 128, 16
"""Pixels of the image and of a HOG cell: the best of four settings on real photographs of unseen people."""

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Rec. 601 weights of red, green and blue."""


def grey_faces(faces: FaceSet, size: int) -> npt.NDArray[np.float32]:
    """All images as luma in [0, 1], [N, size, size]."""
    grey = [np.einsum("bchw,c->bhw", batch.numpy(), LUMA) for batch in faces.batches(size)]
    return (np.concatenate(grey) / 255).astype(np.float32)


def hog_features(faces: FaceSet) -> npt.NDArray[np.float32]:
    """Histograms of oriented gradients (Dalal and Triggs 2005) in 9 orientations, float32 [N, 1764]."""
    images = grey_faces(faces, SIDE)
    cells = {"orientations": 9, "pixels_per_cell": (CELL, CELL), "cells_per_block": (2, 2)}
    return np.stack([hog(image, **cells) for image in images]).astype(np.float32)


def class_numbers(faces: FaceSet, classes: list[str]) -> npt.NDArray[np.int64]:
    """Position of each sample's label in `classes`, [N].

    Raises:
        DataError: for a label that is not among them.
    """
    unknown = sorted(set(faces.labels) - set(classes))
    if unknown:
        raise DataError(
            f"class '{unknown[0]}' is not among {', '.join(classes)}",
            where=faces.name,
            fix="use sets with the same classes, or choose common ones with --classes",
        )
    places = {label: i for i, label in enumerate(classes)}
    return np.array([places[label] for label in faces.labels])


def row_of(
    method: str, scores: npt.NDArray[np.floating], test: FaceSet, classes: list[str], seed: int, **extra: str
) -> Row:
    """The baseline row of class probabilities [N, C]."""
    made = Predictions(classes, class_numbers(test, classes), scores)
    metrics = score_classes(made.labels, made.found, len(classes), test.groups, scores, seed)
    return Row(method, metrics, "baseline", predictions=made, **extra)


def majority(test: FaceSet, classes: list[str], train: FaceSet | None = None, seed: int = 0) -> Row:
    """Always the most frequent class of the train set (without one, of the test set), at its frequency."""
    counts = np.bincount(class_numbers(train or test, classes), minlength=len(classes))
    scores = np.tile(counts / counts.sum(), (len(test), 1))
    source = "train" if train else "test"
    return row_of(
        "majority", scores, test, classes, seed, note=f"always {classes[counts.argmax()]} ({source})"
    )


def hog_logistic(train: FaceSet, test: FaceSet, classes: list[str], seed: int = 0) -> Row:
    """HOG of the train images, standardised, class-balanced logistic regression, C on folds of people."""
    labels = class_numbers(train, classes)
    probe = fit_classes(hog_features(train), labels, np.array(train.groups), seed=seed)
    scores = probe.probabilities(hog_features(test))
    note = f"HOG {SIDE} px, {len(train)} train images, C = {probe.strength:g}"
    return row_of("hog_logreg", scores, test, classes, seed, note=note)
