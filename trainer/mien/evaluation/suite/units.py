"""Zero-shot action units: a pair of prompts per unit and the softmax over it (section 6.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mien.benchmarks.base import Benchmark, Item
from mien.evaluation.encoding import centres, template_means
from mien.evaluation.report import Row
from mien.evaluation.suite.counting import unit_intervals
from mien.evaluation.suite.embed import Embedder
from mien.evaluation.suite.results import Outcome, Table, person
from mien.evaluation.unit_prompts import load_units, unit_probabilities, units_hash

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

PRESENT = 0.4
"""Intensity from which a unit counts as present: 2 of 5, the usual threshold of DISFA."""


def truth_of(items: Sequence[Item], units: Sequence[int]) -> tuple[Bools, Bools]:
    """(present, annotated) of each item and unit, [N, U] each; what is not annotated is False in both."""
    values = np.array(
        [[(item.units or {}).get(unit, np.nan) for unit in units] for item in items], dtype=float
    )
    known = ~np.isnan(values.reshape(len(items), len(units)))
    return known & (np.nan_to_num(values).reshape(known.shape) >= PRESENT - 1e-9), known


def pair_scores(embedder: Embedder, units: Sequence[int], items: Sequence[Item]) -> Floats:
    """Probability of each unit by the softmax over its pair, [N, U]."""
    make = centres if embedder.protocol == "clean" else template_means
    images = embedder.vectors([item.media for item in items])
    return unit_probabilities(embedder.encoder, images, load_units(only=units), make)


def best_threshold(scores: Floats, truth: Bools) -> float:
    """The threshold with the best F1, of equals the one nearest 0.5; 0.5 where nothing is present.

    Args:
        scores: probabilities of one unit, [N]; it counts as present from the threshold on.
        truth: presence, [N].
    """
    if not truth.any():
        return 0.5
    values = np.unique(scores)
    tried = np.concatenate([[0.5], values, (values[1:] + values[:-1]) / 2])
    # From the sorted scores, so that a set of many thousands needs no N x N table.
    order = np.argsort(scores)
    first = np.searchsorted(scores[order], tried)
    behind = np.concatenate([np.cumsum(truth[order][::-1])[::-1], [0]])
    f1 = 2 * behind[first] / (len(scores) - first + truth.sum())
    best = tried[f1 >= f1.max() - 1e-12]
    return float(best[np.abs(best - 0.5).argmin()])


def tuned_thresholds(scores: Floats, truth: Bools, known: Bools) -> Floats:
    """`best_threshold` of each unit over the samples that annotate it, [U]."""
    return np.array(
        [
            best_threshold(scores[known[:, i], i], truth[known[:, i], i]) if known[:, i].any() else 0.5
            for i in range(scores.shape[1])
        ]
    )


def fold_thresholds(
    scores: Floats, truth: Bools, known: Bools, folds: npt.NDArray[np.int64], groups: Sequence[str]
) -> Floats:
    """Thresholds for each sample, tuned on the other folds without any person of its own, [N, U].

    Args:
        scores: probabilities, [N, U].
        truth: presence, [N, U].
        known: what is annotated, [N, U].
        folds: fold of each sample, [N].
        groups: person of each sample, length N.
    """
    people = np.asarray(groups)
    cuts = np.empty_like(scores)
    for fold in np.unique(folds):
        here = folds == fold
        others = ~here & ~np.isin(people, people[here])
        cuts[here] = tuned_thresholds(scores[others], truth[others], known[others])
    return cuts


def zero_shot_units(
    embedder: Embedder, benchmark: Benchmark, items: Sequence[Item], train: Sequence[Item], seed: int = 0
) -> Outcome:
    """F1 and accuracy at threshold 0.5, at thresholds tuned on other people, and of always saying present.

    Thresholds come from the train split where there is one, else from the other folds; a set with neither has
    no such row. Folds are pooled: a unit has one F1 over all people. A unit without annotation in a sample is
    left out of every count of that sample.
    """
    units = list(benchmark.units)
    truth, known = truth_of(items, units)
    scores = pair_scores(embedder, units, items)
    groups = [person(item) for item in items]
    ways: dict[str, tuple[Bools, str]] = {"zero-shot": (scores >= 0.5, "pair softmax, threshold 0.5")}
    if train:
        cuts = tuned_thresholds(pair_scores(embedder, units, train), *truth_of(train, units))
        ways["zero-shot/tuned"] = (scores >= cuts, f"thresholds tuned on {len(train)} train samples")
    elif len(folds := np.unique([item.fold for item in items])) > 1:
        cuts = fold_thresholds(scores, truth, known, np.array([item.fold for item in items]), groups)
        ways["zero-shot/tuned"] = (
            scores >= cuts,
            f"threshold from the other folds, {len(folds)} folds pooled",
        )
    rows = [
        Row(method, unit_intervals(units, truth, found, known, groups, seed), note=note)
        for method, (found, note) in ways.items()
    ]
    always = unit_intervals(units, truth, np.ones_like(truth), known, groups, seed)
    rows.append(Row("always present", always, "baseline", "says yes to every unit"))
    facts = {
        "prompts": "units",
        "prompts sha256": units_hash(load_units(only=units)),
        "present from": PRESENT,
    }
    return Outcome(rows, _table(items, units, truth, known, scores), facts)


def _table(items: Sequence[Item], units: Sequence[int], truth: Bools, known: Bools, scores: Floats) -> Table:
    made = []
    for row, item in enumerate(items):
        line = {"key": item.key, "group": person(item), "fold": str(item.fold)}
        for i, number in enumerate(units):
            line[f"truth AU{number}"] = str(int(truth[row, i])) if known[row, i] else ""
            line[f"prediction AU{number}"] = str(int(scores[row, i] >= 0.5))
            line[f"score AU{number}"] = f"{scores[row, i]:.5f}"
        made.append(line)
    return made
