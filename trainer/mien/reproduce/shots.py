"""Which C suits few shots: fixed values and the suite's choice, by UAR on what was not drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.benchmarks.base import Benchmark
from mien.benchmarks.table import find, get
from mien.errors import DataError
from mien.evaluation.metrics import confusion_counts, uar
from mien.evaluation.probe import fit_at, fit_shots
from mien.evaluation.suite.classes import label_numbers
from mien.evaluation.suite.embed import Embedder
from mien.evaluation.suite.results import held_out
from mien.evaluation.suite.subject import open_subject
from mien.evaluation.suite.trained import SHOTS, draw, training_parts
from mien.systems.encoder import Encoder

OLD = 1e-3
"""C of every few-shot row before it was chosen."""

GRID = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""C x D, D features."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def reproduce(runs: Sequence[Path], root: Path, draws: int = 3) -> str:
    """A Markdown table: a row for each number of shots, mean UAR in percent over runs, sets and draws.

    Args:
        runs: run folders.
        root: folder of benchmarks; those of classes with a train split or folds are used.
        draws: of the shots.

    Raises:
        DataError: if none of the sets has anything to train on.
    """
    found: dict[int, list[list[float]]] = {shots: [] for shots in SHOTS}
    for run in runs:
        encoder = open_subject(str(run)).encoder
        for name, folder in find(root).items():
            for shots, scores in _set(encoder, get(name), folder, draws):
                found[shots].append(scores)
    if not found[SHOTS[0]]:
        raise DataError("no benchmark with classes and a train split or folds", where=root, fix="make one")
    heads = ["shots", "cases", f"C = {OLD:g}", *(f"{c:g} / D" for c in GRID), "as chosen"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---:|" * len(heads)]
    for shots, cases in found.items():
        cells = [f"{100 * value:.1f}" for value in np.mean(cases, axis=0)]
        lines.append("| " + " | ".join([str(shots), str(len(cases)), *cells]) + " |")
    return "\n".join(lines)


def _set(
    encoder: Encoder, benchmark: Benchmark, folder: Path, draws: int
) -> Iterator[tuple[int, list[float]]]:
    """(shots, UAR of each way) a draw; nothing for a set that has nothing to train on."""
    if benchmark.task in ("au", "mcq"):
        return
    items = benchmark.open(folder)
    scored, train = held_out(items), [item for item in items if item.split == "train"]
    if not (train or benchmark.folds > 1):
        return
    embedder = Embedder(encoder, "clean")
    embedder.prepare([item.media for item in scored + train])
    images, labels = (
        embedder.vectors([item.media for item in scored]),
        label_numbers(scored, benchmark.classes),
    )
    for shots in SHOTS:
        for seed in range(draws):
            for some, places in training_parts(scored, train):
                chosen = draw(some, shots, seed)
                features = embedder.vectors([item.media for item in chosen])
                known = label_numbers(chosen, benchmark.classes)
                yield shots, _scores(features, known, images[places], labels[places], seed)


def _scores(features: Floats, known: Ints, test: Floats, truth: Ints, seed: int) -> list[float]:
    """UAR with the old C, with each of the grid, and as chosen."""
    present, compact = np.unique(known, return_inverse=True)
    compact = compact.astype(np.int64)
    fixed = [fit_at(c, features, compact) for c in (OLD, *(c / features.shape[1] for c in GRID))]
    models = [probe.model for probe in (*fixed, fit_shots(features, compact, seed=seed))]
    classes = int(max(known.max(), truth.max())) + 1
    return [
        float(uar(confusion_counts(truth, present[model.predict(test)], classes).sum(0))) for model in models
    ]
