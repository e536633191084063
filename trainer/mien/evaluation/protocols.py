"""Zero-shot and linear probe: from an encoder and sets to rows (spec emocapclip, section 6.3)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.errors import DataError
from mien.evaluation.baselines import class_numbers
from mien.evaluation.encoding import embed_faces, embed_texts, unit
from mien.evaluation.faceset import FaceSet
from mien.evaluation.metrics import (
    Interval,
    binary_counts,
    binary_f1,
    bootstrap,
    mean_binary_f1,
    score_classes,
)
from mien.evaluation.probe import fit_classes, fit_units
from mien.evaluation.promptset import PromptSet
from mien.evaluation.report import Predictions, Row
from mien.systems.encoder import Encoder

Floats = npt.NDArray[np.floating]

MIN_POSITIVES = 20
"""An action unit is scored when it is present, and absent, this often in the train and the test set."""


def zero_shot(encoder: Encoder, test: FaceSet, prompts: PromptSet, *, seed: int = 0) -> list[Row]:
    """Classes by prompt, the clean protocol: score = scale x cos(image, unit mean of the prompt vectors).

    The candidates are the classes that the test set has. The first row is the prompt set's default family,
    fixed in its file; the others show how much the words matter.

    Raises:
        DataError: for a class without prompts.
    """
    classes = sorted(set(test.labels))
    prompts.require(classes)
    labels = class_numbers(test, classes)
    images = embed_faces(encoder, test)
    rows = []
    for family in sorted(prompts.families, key=lambda name: name != prompts.default):
        texts = [prompts.prompts(family, label) for label in classes]
        centres = np.stack([unit(embed_texts(encoder, some).mean(0)) for some in texts])
        scores = _softmax(encoder.logit_scale * images @ centres.T)
        made = Predictions(classes, labels, scores)
        metrics = score_classes(labels, made.found, len(classes), test.groups, scores, seed)
        name = "zero_shot" if family == prompts.default else f"zero_shot/{family}"
        count = sum(map(len, texts))
        rows.append(Row(name, metrics, note=f"family {family}, {count} prompts", predictions=made))
    return rows


def linear_probe(encoder: Encoder, train: FaceSet, test: FaceSet, *, seed: int = 0) -> list[Row]:
    """Class-balanced L-BFGS logistic regression on frozen unit image vectors; C on folds of train people.

    Raises:
        DataError: when a test class is absent from the train set.
    """
    classes = sorted(set(train.labels))
    labels = class_numbers(test, classes)
    probe = fit_classes(
        embed_faces(encoder, train), class_numbers(train, classes), np.array(train.groups), seed=seed
    )
    made = Predictions(classes, labels, probe.probabilities(embed_faces(encoder, test)))
    metrics = score_classes(labels, made.found, len(classes), test.groups, made.scores, seed)
    note = f"{len(train)} train images, C = {probe.strength:g}"
    return [Row("linear_probe", metrics, note=note, predictions=made)]


def unit_probe(
    features: Floats, held: Floats, train: FaceSet, test: FaceSet, method: str, *, seed: int = 0
) -> Row:
    """One logistic regression per action unit on given features; F1 of each, and their mean `au_f1`.

    A unit is present from intensity 0.3 on either side. Units that are present or absent fewer than
    `MIN_POSITIVES` times in a set are left out; the note says how many were scored.

    Args:
        features: of the train set, [N, D].
        held: of the test set, [M, D].
        train: carries `au`.
        test: carries `au`.
        method: name of the row.
        seed: of the bootstrap.

    Raises:
        DataError: when a set has no `au`, or no unit is frequent enough.
    """
    numbers, present, truth = _shared_units(train, test)
    probe = fit_units(features, present, np.array(train.groups))
    counts = binary_counts(truth, np.asarray(probe.probabilities(held)) >= 0.5)
    metrics = _unit_metrics(counts, numbers, test.groups, seed)
    note = f"{len(numbers)} action units, {len(train)} train images, C = {probe.strength:g}"
    return Row(method, metrics, "run" if method.startswith("linear_probe") else "baseline", note=note)


def linear_probe_units(encoder: Encoder, train: FaceSet, test: FaceSet, *, seed: int = 0) -> Row:
    """`unit_probe` on frozen unit image vectors."""
    return unit_probe(
        embed_faces(encoder, train), embed_faces(encoder, test), train, test, "linear_probe/au", seed=seed
    )


def always_present(train: FaceSet, test: FaceSet, *, seed: int = 0) -> Row:
    """The baseline that calls every unit present: F1 = 2 p / (1 + p) at a share p of positives."""
    numbers, _, truth = _shared_units(train, test)
    metrics = _unit_metrics(binary_counts(truth, np.ones_like(truth)), numbers, test.groups, seed)
    return Row("always_present/au", metrics, "baseline", note="every unit present on every face")


def _shared_units(
    train: FaceSet, test: FaceSet
) -> tuple[list[int], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Units that are frequent enough in both sets, and their presence in each, [N, U] and [M, U]."""
    before, after = train.units(), test.units()
    numbers = [
        n for n in sorted(before.keys() & after.keys()) if _frequent(before[n]) and _frequent(after[n])
    ]
    if not numbers:
        raise DataError(
            f"no action unit is present and absent {MIN_POSITIVES} times in both sets",
            where=test.name,
            fix="give larger sets",
        )
    present, truth = (np.stack([sides[n] for n in numbers], axis=1) for sides in (before, after))
    return numbers, present, truth


def _unit_metrics(
    counts: npt.NDArray[np.float64], numbers: list[int], groups: list[str], seed: int
) -> dict[str, Interval]:
    """`au_f1`, the mean, and `f1_auN` of each unit, from `binary_counts`."""
    metrics = {"au_f1": bootstrap(mean_binary_f1, counts, groups, seed=seed)}
    for i, n in enumerate(numbers):
        one = counts[:, i :: len(numbers)]
        metrics[f"f1_au{n}"] = bootstrap(lambda sums: binary_f1(sums)[..., 0], one, groups, seed=seed)
    return metrics


def _frequent(present: npt.NDArray[np.bool_]) -> bool:
    return MIN_POSITIVES <= int(present.sum()) <= len(present) - MIN_POSITIVES


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
