"""Zero-shot classes: pictures, clips and compounds under both protocols (emocapclip spec, section 6.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mien.benchmarks.base import Benchmark, Item
from mien.evaluation.metrics import Interval
from mien.evaluation.report import Row
from mien.evaluation.suite.counting import class_intervals
from mien.evaluation.suite.embed import Embedder
from mien.evaluation.suite.results import Outcome, Table, fold_of, person
from mien.evaluation.suite.wording import (
    centres,
    part_centres,
    prompts_for,
    template_means,
    texts,
    words_hash,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def label_numbers(items: Sequence[Item], classes: Sequence[str]) -> Ints:
    """Class number of each item, [N]."""
    place = {name: i for i, name in enumerate(classes)}
    return np.array([place[str(item.label)] for item in items], dtype=np.int64)


def zero_shot(embedder: Embedder, benchmark: Benchmark, items: Sequence[Item], seed: int = 0) -> Outcome:
    """A row for each prompt family, the pinned default first; of compound sets also one of averaged parts.

    `clean` scores a class by the cosine to the unit mean of its prompts, `expclip` by the mean of the logits
    over templates. All classes of the benchmark are candidates. Equal scores go to the class named first.
    """
    prompts, encoder = prompts_for(benchmark.classes), embedder.encoder
    clean = embedder.protocol == "clean"
    images = embedder.vectors([item.media for item in items])
    make = centres if clean else template_means
    families = sorted(prompts.families, key=lambda name: name != prompts.default)
    anchors = {
        "zero-shot" if family == prompts.default else f"zero-shot/{family}": (
            make(encoder, texts(prompts, family, benchmark.classes)),
            f"family {family}",
        )
        for family in families
    }
    if benchmark.task == "compound":
        parts = part_centres(encoder, prompts, prompts.default, benchmark.classes, clean)
        anchors["zero-shot/parts"] = (parts, f"average of the parts, family {prompts.default}")
    rows: list[Row] = []
    predictions: Table = []
    for method, (anchor, note) in anchors.items():
        scores = encoder.logit_scale * images @ anchor.T
        rows.append(Row(method, class_metrics(benchmark, items, scores.argmax(1), seed), note=note))
        predictions = predictions or table(benchmark, items, scores)
    facts = {"prompts": prompts.name, "prompts sha256": words_hash(prompts, benchmark.classes)}
    return Outcome(rows, predictions, facts)


def class_metrics(
    benchmark: Benchmark, items: Sequence[Item], found: Ints, seed: int = 0
) -> dict[str, Interval]:
    """`uar` and `war` of predictions [N], folds averaged, with intervals over people."""
    folds = np.array([fold_of(benchmark, item) for item in items])
    labels = label_numbers(items, benchmark.classes)
    return class_intervals(
        labels, found, folds, len(benchmark.classes), [person(item) for item in items], seed
    )


def table(benchmark: Benchmark, items: Sequence[Item], scores: Floats) -> Table:
    """Predictions as columns: key, group, fold, truth, prediction, then the score of each class."""
    return [
        {
            "key": item.key, "group": person(item), "fold": str(fold_of(benchmark, item)),
            "truth": str(item.label), "prediction": benchmark.classes[int(row.argmax())],
            **{f"score {name}": f"{value:.5f}" for name, value in zip(benchmark.classes, row)},
        }
        for item, row in zip(items, scores)
    ]  # fmt: skip
