"""Rows that need a train split or texts: few-shot, linear probe and retrieval (section 6.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mien.benchmarks.base import Benchmark, Item
from mien.evaluation.encoding import embed_texts
from mien.evaluation.probe import fit_classes, fit_shots
from mien.evaluation.report import Row
from mien.evaluation.retrieval import recall_both_ways
from mien.evaluation.suite.classes import label_numbers
from mien.evaluation.suite.counting import draw_intervals, fold_counts, fold_uar
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

    Without a train split, a set with folds trains on the other folds. A few-shot row is the mean over draws
    of the shots, and its interval is over draws and people: what one draw gives on other people.
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
    parts = list(training_parts(scored, train))
    rows = [_row("linear probe", embedder, benchmark, scored, parts, [seed], None)]
    for shots in SHOTS:
        rows.append(
            _row(f"{shots}-shot", embedder, benchmark, scored, parts, range(seed, seed + SEEDS), shots)
        )
    return rows


def training_parts(scored: Sequence[Item], train: Sequence[Item]) -> list[tuple[Sequence[Item], Ints]]:
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
    labels, count = label_numbers(scored, benchmark.classes), len(benchmark.classes)
    folds, groups = np.array([item.fold for item in scored]), [person(item) for item in scored]
    images = embedder.vectors([item.media for item in scored])
    predictions = np.zeros((len(seeds), len(scored)), dtype=np.int64)
    strengths: list[float] = []
    for row, seed in zip(predictions, seeds):
        for train, places in parts:
            chosen = draw(train, shots, seed)
            row[places], strength = _fit(embedder, benchmark, chosen, images[places], seed, shots is None)
            strengths.append(strength)
    metrics = draw_intervals(labels, predictions, folds, count, groups, seeds[0])
    if shots is None:
        return Row(method, metrics, note=f"C chosen on folds of train people: {_told(strengths)}")
    uars = [fold_uar(fold_counts(labels, row, folds, count).sum(0), count) for row in predictions]
    way = "C fixed" if shots == 1 else "C by cross-validation on the shots"
    notes = [f"{way}: {_told([c * images.shape[1] for c in strengths])} / D"]
    notes.append(f"{len(uars)} draws, UAR std {np.std(uars, ddof=1):.3f}")
    if short := max(_short(train, benchmark.classes, shots) for train, _ in parts):
        notes.append(f"{short} classes have fewer")
    return Row(method, metrics, note="; ".join(notes))


def _told(values: Sequence[float]) -> str:
    """`3 (24 of 25), 30 (1 of 25)`; one value alone without counts."""
    counts = Counter(f"{value:.3g}" for value in values)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({count} of {len(values)})" for value, count in counts.most_common())


def _short(train: Sequence[Item], classes: Sequence[str], shots: int) -> int:
    """How many classes have fewer samples to draw from."""
    counts = Counter(item.label for item in train)
    return sum(counts[label] < shots for label in classes)


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
    embedder: Embedder, benchmark: Benchmark, train: Sequence[Item], test: Floats, seed: int, whole: bool
) -> tuple[Ints, float]:
    """Class numbers of test vectors [N, D], and C; classes without training samples are never said."""
    labels = label_numbers(train, benchmark.classes)
    present, compact = np.unique(labels, return_inverse=True)
    features, compact = embedder.vectors([item.media for item in train]), compact.astype(np.int64)
    if whole:
        groups = np.array([person(item) for item in train])
        probe = fit_classes(features, compact, groups, seed=seed)
    else:
        probe = fit_shots(features, compact, seed=seed)
    return present[probe.probabilities(test).argmax(1)], probe.strength


def _retrieval(embedder: Embedder, items: Sequence[Item], seed: int) -> Row:
    told = [str(item.text) for item in items]
    place = {text: i for i, text in enumerate(dict.fromkeys(told))}
    numbers = np.array([place[text] for text in told], dtype=np.int64)
    images = embedder.vectors([item.media for item in items])
    vectors = embed_texts(embedder.encoder, told)
    metrics = recall_both_ways(images, vectors, numbers, [person(item) for item in items], seed)
    return Row("retrieval", metrics, note=f"{len(items)} samples, {len(place)} distinct texts")
