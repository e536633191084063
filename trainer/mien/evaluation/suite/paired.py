"""Two models on the same items: paired bootstrap and permutation over people.

Both models answer the same items, so people are drawn once for both, and a permutation swaps the answers of
the two models person by person. Several training seeds of a model are averaged inside each draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.benchmarks.base import TASKS, Task
from mien.errors import DataError, MienError
from mien.evaluation.metrics import CHUNK, Statistic, hit_counts, hit_rate
from mien.evaluation.suite.counting import fold_counts, fold_uar, unit_counts, unit_f1
from mien.evaluation.suite.results import Result, Table, read_predictions, read_result

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A minus B on one benchmark, or averaged over several.

    Attributes:
        name: benchmark, task or `all`.
        first: main metric of A a seed, [S_A].
        second: of B, [S_B].
        value: mean of A minus mean of B.
        low: end of the 95 % bootstrap interval of `value`.
        high: the other end.
        p: two-sided, of the permutation test.
        samples: that were compared.
    """

    name: str
    first: Floats
    second: Floats
    value: float
    low: float
    high: float
    p: float
    samples: int


@dataclass(frozen=True)
class Draws:
    """Values and their resamplings on one benchmark: differences [n], people drawn or answers swapped."""

    name: str
    task: Task
    first: Floats
    second: Floats
    drawn: Floats
    swapped: Floats
    samples: int

    @property
    def value(self) -> float:
        """A minus B."""
        return float(self.first.mean() - self.second.mean())


def resample(
    statistic: Statistic, first: Sequence[Floats], second: Sequence[Floats], groups: Sequence[str],
    *, n: int = 1000, seed: int = 0,
) -> tuple[Floats, Floats, Floats, Floats]:  # fmt: skip
    """Values of A and B a seed, and n differences by bootstrap and n by permutation.

    Args:
        statistic: from summed counts [..., K] to values [...].
        first: counts [N, K] of each seed of A, over the same samples.
        second: of B, as many seeds.
        groups: person of each sample, [N].
        n: resamplings of each kind.
        seed: of both.
    """
    people, person = np.unique(np.asarray(groups), return_inverse=True)
    summed = [[_by_person(counts, person, len(people)) for counts in side] for side in (first, second)]
    whole = [np.array([float(statistic(counts.sum(0))) for counts in side]) for side in summed]
    rng = np.random.default_rng(seed)
    drawn, swapped = [], []
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        weights = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=size).astype(float)
        drawn.append(
            _difference(statistic, [weights @ a for a in summed[0]], [weights @ b for b in summed[1]])
        )
        stay = rng.integers(0, 2, (size, len(people))).astype(float)
        swapped.append(_swap_seeds(statistic, stay, *summed))
    return whole[0], whole[1], np.concatenate(drawn), np.concatenate(swapped)


def _by_person(counts: Floats, person: npt.NDArray[np.int64], people: int) -> Floats:
    summed = np.zeros((people, counts.shape[1]))
    np.add.at(summed, person, counts)
    return summed


def _difference(statistic: Statistic, first: Sequence[Floats], second: Sequence[Floats]) -> Floats:
    a, b = (np.mean([statistic(counts) for counts in side], axis=0) for side in (first, second))
    return np.asarray(a - b)


def _swap(statistic: Statistic, stay: Floats, first: Floats, second: Floats) -> Floats:
    a, b = stay @ first + (1 - stay) @ second, stay @ second + (1 - stay) @ first
    return np.asarray(statistic(a) - statistic(b))


def _swap_seeds(
    statistic: Statistic, stay: Floats, first: Sequence[Floats], second: Sequence[Floats]
) -> Floats:
    """The seeds in pairs, each person's answers swapped in all of them."""
    pairs = zip(first, second, strict=True)
    return np.asarray(np.mean([_swap(statistic, stay, a, b) for a, b in pairs], axis=0))


def summarise(name: str, some: Sequence[Draws]) -> Difference:
    """One benchmark, or the unweighted mean over several with their resamplings side by side."""
    value = float(np.mean([one.value for one in some]))
    drawn = np.mean([one.drawn for one in some], axis=0)
    swapped = np.mean([one.swapped for one in some], axis=0)
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    p = (1 + np.sum(np.abs(swapped) >= abs(value) - 1e-12)) / (1 + len(swapped))
    first, second = (np.mean([getattr(one, side) for one in some], axis=0) for side in ("first", "second"))
    return Difference(
        name, first, second, value, float(low), float(high), float(p), sum(o.samples for o in some)
    )


def compare(
    first: Sequence[Path], second: Sequence[Path], *, n: int = 1000, seed: int = 0
) -> list[Difference]:
    """Differences on every benchmark that all folders hold, then a row a task, then over all.

    Args:
        first: folders written by `mien benchmark`, one a seed of model A.
        second: of model B.
        n: resamplings.
        seed: of the resampling.

    Raises:
        MienError: if protocols differ, items differ, or no benchmark is shared.
    """
    folders = [*first, *second]
    for folder in folders:
        if not folder.is_dir():
            raise DataError("no such folder of results", where=folder, fix="run mien benchmark first")
    shared = set.intersection(*({path.parent.name for path in one.glob("*/result.json")} for one in folders))
    if not shared:
        raise MienError(
            "the folders share no benchmark", where=folders[0], fix="score the same sets with both"
        )
    draws = [_draws(name, first, second, n, seed + place) for place, name in enumerate(sorted(shared))]
    rows = [summarise(one.name, [one]) for one in draws]
    for task in TASKS:
        some = [one for one in draws if one.task == task]
        rows += [summarise(f"task {task}", some)] if some else []
    return [*rows, summarise("all", draws)]


def _draws(name: str, first: Sequence[Path], second: Sequence[Path], n: int, seed: int) -> Draws:
    folders = [folder / name for folder in (*first, *second)]
    results = [_result(folder) for folder in folders]
    protocols = sorted({one.protocol for one in results})
    if len(protocols) > 1:
        raise MienError(
            f"cannot compare protocols {' and '.join(protocols)}", where=name, fix="score both alike"
        )
    tables = [_sorted(read_predictions(folder)) for folder in folders]
    for folder, table in zip(folders, tables):
        if _truth(table) != _truth(tables[0]):
            raise MienError(
                "the models answered different items", where=folder, fix="score the same folder with both"
            )
    counts = [_counts(results[0], table) for table in tables]
    groups = [line["group"] for line in tables[0]]
    found = resample(counts[0][0], [c for _, c in counts[: len(first)]], [c for _, c in counts[len(first) :]],
                     groups, n=n, seed=seed)  # fmt: skip
    return Draws(name, results[0].task, *found, len(groups))


def _result(folder: Path) -> Result:
    found = read_result(folder)
    assert found is not None  # listed because the file is there
    return found


def _sorted(table: Table) -> Table:
    return sorted(table, key=lambda line: line["key"])


def _truth(table: Table) -> list[dict[str, str]]:
    fixed = ("key", "group", "fold", "truth")
    return [{name: text for name, text in line.items() if name.startswith(fixed)} for line in table]


def _counts(result: Result, table: Table) -> tuple[Statistic, Floats]:
    """The main metric and its additive counts, from predictions."""
    if result.task == "mcq":
        return hit_rate, hit_counts(np.array([line["truth"] == line["prediction"] for line in table]))
    if result.task == "au":
        units = [name.removeprefix("truth ") for name in table[0] if name.startswith("truth ")]
        told = np.array([[line[f"truth {unit}"] for unit in units] for line in table])
        said = np.array([[line[f"prediction {unit}"] == "1" for unit in units] for line in table])
        return unit_f1, unit_counts(told == "1", said, told != "")
    classes = [name.removeprefix("score ") for name in table[0] if name.startswith("score ")]
    place = {name: i for i, name in enumerate(classes)}
    labels, found = (np.array([place[line[column]] for line in table]) for column in ("truth", "prediction"))
    folds = np.array([int(line["fold"]) for line in table])
    return partial(fold_uar, classes=len(classes)), fold_counts(labels, found, folds, len(classes))


def markdown(rows: Sequence[Difference]) -> str:
    """The comparison as a table, in percent."""
    lines = ["| on | samples | A | B | A - B [95 %] | p |", "|---|---:|---:|---:|---:|---:|"]
    for row in rows:
        shown = f"{100 * row.value:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
        means = f"{_spread(row.first)} | {_spread(row.second)}"
        lines.append(f"| {row.name} | {row.samples} | {means} | {shown} | {row.p:.3f} |")
    return "\n".join(lines) + "\n"


def _spread(values: Floats) -> str:
    """Mean, and the standard deviation over seeds where there are several."""
    mean = f"{100 * values.mean():.1f}"
    return f"{mean} ± {100 * values.std(ddof=1):.1f} ({len(values)} seeds)" if len(values) > 1 else mean
