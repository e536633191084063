"""The outcome of one benchmark: rows with intervals, predictions per sample, and the files that hold them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.benchmarks.base import Benchmark, Item, Task
from mien.engine.rundir import write_atomic
from mien.errors import DataError
from mien.evaluation.metrics import Interval
from mien.evaluation.report import Row
from mien.evaluation.suite.embed import ProtocolName

MAIN: dict[Task, str] = {
    "static": "uar",
    "dynamic": "uar",
    "compound": "uar",
    "au": "au_f1",
    "mcq": "accuracy",
}
"""The metric of a task that stands beside the published one."""

POOLED = frozenset({"crema-d", "ravdess", "enterface05"})
"""Sets whose clips are scored all at once without training, whatever their folds (spec, section 6.1)."""

Table = list[dict[str, str]]
"""Predictions: one mapping of column to text a sample."""


@dataclass(frozen=True)
class Outcome:
    """What a task hands back: its rows, the first the main one, and the predictions of that row."""

    rows: list[Row]
    predictions: Table
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """One benchmark scored under one protocol.

    Attributes:
        name: of the benchmark.
        title: as papers write it.
        task: of `mien.benchmarks.base.TASKS`.
        protocol: of `embed.PROTOCOLS`.
        key: hash of all that the numbers depend on.
        rows: the first is the main one.
        samples: that were scored.
        people: that they show.
        damaged: samples that could not be read and were left out, with the reason.
        facts: hashes of prompts and the like.
    """

    name: str
    title: str
    task: Task
    protocol: ProtocolName
    key: str
    rows: list[Row]
    samples: int
    people: int
    damaged: list[str]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def main(self) -> Interval:
        """The main row's main metric."""
        return self.rows[0].metrics[MAIN[self.task]]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; intervals are [value, low, high] as fractions, null where undefined."""
        rows = [
            {
                "method": row.method, "kind": row.kind, "note": row.note,
                "metrics": {name: _numbers(metric) for name, metric in row.metrics.items()},
            }
            for row in self.rows
        ]  # fmt: skip
        return {**{name: getattr(self, name) for name in _PLAIN}, "rows": rows}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Result:
        """The inverse of `to_dict`; raises KeyError or TypeError for anything else."""
        rows = [
            Row(
                row["method"],
                {name: Interval(*map(_float, three)) for name, three in row["metrics"].items()},
                row["kind"],
                row["note"],
            )
            for row in content["rows"]
        ]
        return cls(rows=rows, **{name: content[name] for name in _PLAIN})


_PLAIN = ("name", "title", "task", "protocol", "key", "samples", "people", "damaged", "facts")


def _numbers(metric: Interval) -> list[float | None]:
    values = (metric.value, metric.low, metric.high)
    return [None if value != value else value for value in values]  # NaN is not JSON


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def write_result(result: Result, predictions: Table, folder: Path) -> None:
    """Write `predictions.csv`, then `result.json`: a folder with a result is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").unlink(missing_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(predictions[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(predictions)
    write_atomic(folder / "predictions.csv", text.getvalue())
    write_atomic(folder / "result.json", json.dumps(result.to_dict(), indent=2) + "\n")


def read_result(folder: Path) -> Result | None:
    """The result that a folder holds, None if it holds none.

    Raises:
        DataError: if the file cannot be read as one.
    """
    path = folder / "result.json"
    if not path.is_file():
        return None
    try:
        return Result.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            "not a result of mien benchmark", where=path, fix="remove it and run again"
        ) from error


def read_predictions(folder: Path) -> Table:
    """The rows of `predictions.csv`.

    Raises:
        DataError: if it is absent or empty.
    """
    path = folder / "predictions.csv"
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            found = list(csv.DictReader(file))
        if found:
            return found
    raise DataError("no predictions", where=path, fix="run mien benchmark again")


def held_out(items: Sequence[Item]) -> list[Item]:
    """The items that are scored: of the test split, or of the validation split where no test is published."""
    return [item for item in items if item.split == "test"] or [item for item in items if item.split == "val"]


def fold_of(benchmark: Benchmark, item: Item) -> int:
    """The fold that an item counts in without training; 0 where all count together."""
    return 0 if benchmark.name in POOLED else item.fold


def person(item: Item) -> str:
    """Who an item shows; its key where nobody is named."""
    return item.group or item.key
