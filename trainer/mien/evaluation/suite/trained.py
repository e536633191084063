"""Rows that need a train split or texts: few-shot, linear probe and retrieval (section 6.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mien.benchmarks.base import Benchmark, Item
from mien.evaluation.encoding import embed_texts
from mien.evaluation.metrics import Interval
from mien.evaluation.probe import fit_classes
from mien.evaluation.report import Row
from mien.evaluation.retrieval import recall_both_ways
from mien.evaluation.suite.classes import label_numbers
from mien.evaluation.suite.counting import class_intervals
from mien.evaluation.suite.embed import Embedder
from mien.evaluation.suite.results import person

SHOTS = (1, 2, 4, 8, 16)
"""Training samples of each class."""

SEEDS = 5
"""Draws of the few shots."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def with_shots(
    embedder: Embedder, benchmark: Benchmark, scored: Sequence[Item], train: Sequence[Item],
    seed: int = 0,
) -> list[Row]:  # fmt: skip
    """Few-shot and linear-probe rows where there are labels to train on; retrieval where there are texts.

    Without a train split, a set with folds trains on the other folds.
    """
    rows: list[Row] = []
    if benchmark.task not in ("au", "mcq") and (train or benchmark.folds > 1):
        rows += _trained(embedder, benchmark, scored, train, seed)
    told = [item for item in scored if item.text]
    if len(told) > 1:
        rows.append(_retrieval(embedder, told, seed))
    return rows


def _trained(
    embedder: Embedder, benchmark: Benchmark, scored: Sequence[Item], train: Sequence[Item], seed: int
) -> list[Row]:
    parts = list(_parts(scored, train))
    rows = [_row("linear probe", embedder, benchmark, scored, parts, [seed], None)]
    for shots in SHOTS:
        rows.append(
            _row(f"{shots}-shot", embedder, benchmark, scored, parts, range(seed, seed + SEEDS), shots)
        )
    return rows


def _parts(scored: Sequence[Item], train: Sequence[Item]) -> list[tuple[Sequence[Item], Ints]]:
    """(train items, places of the test items): one part with a train split, else one a fold."""
    if train:
        return [(train, np.arange(len(scored)))]
    folds = np.array([item.fold for item in scored])
    return [
        ([item for item in scored if item.fold != fold], np.flatnonzero(folds == fold))
        for fold in np.unique(folds)
    ]


def _row(
    method: str, embedder: Embedder, benchmark: Benchmark, scored: Sequence[Item],
    parts: Sequence[tuple[Sequence[Item], Ints]], seeds: Sequence[int], shots: int | None,
) -> Row:  # fmt: skip
    images = embedder.vectors([item.media for item in scored])
    labels = label_numbers(scored, benchmark.classes)
    folds, groups = np.array([item.fold for item in scored]), [person(item) for item in scored]
    found: list[dict[str, Interval]] = []
    for seed in seeds:
        predictions = np.zeros(len(scored), dtype=np.int64)
        for train, places in parts:
            chosen = draw(train, shots, seed)
            predictions[places] = _fit(embedder, benchmark, chosen, images[places], seed, shots is None)
        found.append(class_intervals(labels, predictions, folds, len(benchmark.classes), groups, seed=0))
    metrics = {name: _mean([one[name] for one in found]) for name in found[0]}
    spread = np.std([one["uar"].value for one in found], ddof=1) if len(found) > 1 else None
    note = (
        "C chosen on train people" if shots is None else f"C fixed; {len(found)} draws, UAR std {spread:.3f}"
    )
    return Row(method, metrics, note=note)


def draw(train: Sequence[Item], shots: int | None, seed: int) -> list[Item]:
    """At most `shots` items of each class, drawn by a seed; all items for None."""
    if shots is None:
        return list(train)
    order = np.random.default_rng(seed).permutation(len(train))
    taken: dict[str | None, list[Item]] = {}
    for place in order:
        some = taken.setdefault(train[place].label, [])
        if len(some) < shots:
            some.append(train[place])
    return [item for label in sorted(taken, key=str) for item in taken[label]]


def _fit(
    embedder: Embedder, benchmark: Benchmark, train: Sequence[Item], test: Floats, seed: int, choose: bool
) -> Ints:
    """Predicted class numbers of test vectors [N, D]; classes without training samples are never said."""
    labels = label_numbers(train, benchmark.classes)
    present, compact = np.unique(labels, return_inverse=True)
    features = embedder.vectors([item.media for item in train])
    groups = np.array([person(item) for item in train])
    # One fold means none: with a few samples there is nothing to choose C on.
    probe = fit_classes(features, compact.astype(np.int64), groups, folds=5 if choose else 1, seed=seed)
    return present[probe.probabilities(test).argmax(1)]


def _mean(intervals: Sequence[Interval]) -> Interval:
    values = np.array([(one.value, one.low, one.high) for one in intervals]).mean(0)
    return Interval(*map(float, values))


def _retrieval(embedder: Embedder, items: Sequence[Item], seed: int) -> Row:
    told = [str(item.text) for item in items]
    place = {text: i for i, text in enumerate(dict.fromkeys(told))}
    numbers = np.array([place[text] for text in told], dtype=np.int64)
    images = embedder.vectors([item.media for item in items])
    vectors = embed_texts(embedder.encoder, told)
    metrics = recall_both_ways(images, vectors, numbers, [person(item) for item in items], seed)
    return Row("retrieval", metrics, note=f"{len(items)} samples, {len(place)} distinct texts")
