"""What an evaluation hands back: rows with intervals, predictions per sample, and how they are written."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from mien.engine.rundir import write_atomic
from mien.evaluation.metrics import Interval


@dataclass(frozen=True)
class Predictions:
    """Scores of every test sample; the columns of `scores` are `classes`."""

    classes: list[str]
    labels: npt.NDArray[np.int64]
    """Class number of each sample, [N]."""
    scores: npt.NDArray[np.floating]
    """Probability of each class, [N, C]."""

    @property
    def found(self) -> npt.NDArray[np.int64]:
        """Predicted class number of each sample, [N]."""
        return self.scores.argmax(1)


@dataclass(frozen=True)
class Row:
    """One method in the table."""

    method: str
    metrics: dict[str, Interval]
    kind: Literal["run", "baseline"] = "run"
    note: str = ""
    """What a reader must know of it: templates, C chosen on the folds, epochs."""
    predictions: Predictions | None = None


@dataclass(frozen=True)
class Report:
    """The outcome of one protocol on one run; the first row is the run's own."""

    protocol: str
    run: str
    rows: list[Row]
    keys: list[str]
    """Key of each test sample."""
    groups: list[str]
    """Person of each test sample."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Set sizes, hashes, checkpoint step, date and the like, in reading order."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; metrics that are undefined on this set (NaN) are null."""
        rows = [
            {
                "method": row.method,
                "kind": row.kind,
                "note": row.note,
                "metrics": {name: _interval(metric) for name, metric in row.metrics.items()},
            }
            for row in self.rows
        ]
        return {"protocol": self.protocol, "run": self.run, "rows": rows, "facts": self.facts}

    def write_json(self, path: Path) -> None:
        """Write `to_dict()`; a reader never sees half a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(self.to_dict(), indent=2) + "\n")

    def write(self, out: Path) -> None:
        """Write `report.json`, `table.csv` and `predictions-METHOD.csv` of the methods that score samples."""
        self.write_json(out / "report.json")
        names = metric_names(self.rows)
        head = ["method", "kind", *(f"{name}{part}" for name in names for part in ("", "_low", "_high"))]
        _write_csv(
            out / "table.csv",
            head,
            [[row.method, row.kind, *_cells(row.metrics, names)] for row in self.rows],
        )
        for row in self.rows:
            if row.predictions is not None:
                name = row.method.replace("/", "-")
                self._write_predictions(out / f"predictions-{name}.csv", row.predictions)

    def _write_predictions(self, path: Path, made: Predictions) -> None:
        lines = zip(self.keys, self.groups, made.labels, made.found, made.scores)
        _write_csv(
            path,
            ["key", "group", "label", "prediction", *made.classes],
            [
                [key, group, made.classes[label], made.classes[found], *(f"{score:.6f}" for score in scores)]
                for key, group, label, found, scores in lines
            ],
        )


def print_table(report: Report, console: Console | None = None) -> None:
    """Print the rows with their intervals."""
    names = metric_names(report.rows)
    shown = [name for name in names if not name.startswith("f1_au")]
    table = Table(
        title=f"{report.protocol}: {report.run}", caption=f"{len(report.keys)} samples; 95 % over people"
    )
    table.add_column("method", no_wrap=True)
    for name in shown:
        table.add_column(TITLES.get(name, name), justify="right")
    for row in report.rows:
        cells = [str(row.metrics[name]) if name in row.metrics else "-" for name in shown]
        table.add_row(row.method, *cells, style="bold" if row.kind == "run" else "")
    # A file or a pipe has no width of its own: lines of a log are better long than cut.
    (console or Console(width=None if sys.stdout.isatty() else 140)).print(table)


TITLES = {
    "uar": "UAR",
    "war": "WAR",
    "macro_f1": "macro F1",
    "ece": "ECE",
    "au_f1": "AU macro F1",
    **{
        f"{way}_r{k}": f"{arrow} R@{k}" for way, arrow in (("i2t", "I→T"), ("t2i", "T→I")) for k in (1, 5, 10)
    },
}
"""Column heads of metric names."""


def metric_names(rows: Sequence[Row]) -> list[str]:
    """Every metric that some row has, in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row.metrics))


def _interval(metric: Interval) -> dict[str, float | None]:
    values = {"value": metric.value, "low": metric.low, "high": metric.high}
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def _cells(metrics: Mapping[str, Interval], names: Sequence[str]) -> list[str]:
    cells = []
    for name in names:
        metric = metrics.get(name)
        cells += [""] * 3 if metric is None else [f"{v:.6f}" for v in (metric.value, metric.low, metric.high)]
    return cells


def _write_csv(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)
