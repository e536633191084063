"""Classes of a model's own: a fine-tuned classifier on people never seen."""

from __future__ import annotations

import numpy as np

from mien.evaluation.baselines import class_numbers
from mien.evaluation.faceset import FaceSet
from mien.evaluation.metrics import score_classes
from mien.evaluation.report import Predictions, Row
from mien.systems.encoder import Classifier


def classify(classifier: Classifier, test: FaceSet, *, seed: int = 0) -> Row:
    """The row of a classifier; classes that the set does not have can be answered, and then are wrong.

    Raises:
        DataError: for a label that the classifier does not know, or media that cannot be used.
    """
    classes = list(classifier.classes)
    labels = class_numbers(test, classes)
    samples = (test.shards.read(int(index)) for index in test.indices)
    scores = np.asarray(classifier.probabilities(samples))
    made = Predictions(classes, labels, scores)
    metrics = score_classes(labels, made.found, len(classes), test.groups, scores, seed)
    return Row("classify", metrics, note=f"{len(classes)} classes", predictions=made)
