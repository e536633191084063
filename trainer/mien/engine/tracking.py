"""Where log rows go: `metrics.csv`, which is the truth, and trackers, which may fail without harm."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.engine.rundir import RunFolder, truncate_lines, write_atomic
from mien.engine.trackers import open_sinks

if TYPE_CHECKING:
    from mien.recipe import Recipe


class MetricsFile:
    """`metrics.csv`: a `step` column first, more columns as they appear; a row is one write.

    Args:
        path: the file; created with the first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns = _header(path)

    def rewind(self, step: int) -> None:
        """Drop rows beyond `step` and a row cut short by a crash."""
        truncate_lines(self.path, lambda line: _step_of(line) <= step)
        self.columns = _header(self.path)

    def append(self, step: int, row: Mapping[str, float]) -> None:
        """Add a row; a column not seen before rewrites the file with a wider header."""
        if new := [name for name in row if name not in self.columns]:
            self._widen(new)
        line = _csv_line([step, *(_number(row.get(name)) for name in self.columns[1:])])
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)

    def last(self) -> dict[str, float]:
        """The last row with its step, without empty cells; {} before the first."""
        return next(iter(read_metrics(self.path, last=1)), {})

    def _widen(self, new: list[str]) -> None:
        old = self.path.read_text(encoding="utf-8").splitlines()[1:] if self.path.is_file() else []
        self.columns = [*(self.columns or ["step"]), *new]
        write_atomic(
            self.path, _csv_line(self.columns) + "".join(f"{line}{',' * len(new)}\n" for line in old)
        )


def read_metrics(path: Path, last: int | None = None) -> list[dict[str, float]]:
    """Rows of a `metrics.csv`, the last ones or all, without empty cells; [] where there is no file.

    A row that is being written is left out.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = deque(csv.DictReader(file), maxlen=last)
    whole = [row for row in rows if (row.get("step") or "").isdecimal()]
    return [{name: float(cell) for name, cell in row.items() if cell} for row in whole]


class Tracker:
    """Writes to every place: `metrics.csv` at once, the others in their own time.

    Args:
        folder: the run.
        recipe: its recipe, sent as the tracker's config.
        step: step that the run continues from; later rows are dropped.
    """

    def __init__(self, folder: RunFolder, recipe: Recipe, step: int) -> None:
        self.file = MetricsFile(folder.path / "metrics.csv")
        self.file.rewind(step)
        self._sinks = open_sinks(folder, recipe, step, self.file.last())

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Write one row."""
        self.file.append(step, row)
        for sink in self._sinks:
            sink.log(step, row)

    def picture(self, step: int, file: Path) -> None:
        """Show a JPEG of training samples."""
        for sink in self._sinks:
            sink.picture(step, file)

    def checkpoint(self, step: int, folder: Path) -> None:
        """Send a checkpoint away."""
        for sink in self._sinks:
            sink.checkpoint(step, folder)

    def close(self, exit_code: int) -> None:
        """Finish the session; the run itself can be continued."""
        for sink in self._sinks:
            sink.close(exit_code)


def _header(path: Path) -> list[str]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [])


def _csv_line(values: list[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def _step_of(line: str) -> float:
    head = line.partition(",")[0]
    return int(head) if head.isdecimal() else float("inf")
