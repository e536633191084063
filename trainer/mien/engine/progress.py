"""What a person sees: a bar with samples/s and time left on a terminal, a plain line a log row elsewhere."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn


class Reporter:
    """Shows the run on stdout; silent on all ranks but the first.

    Args:
        name: shown in front.
        start: steps done before.
        total: steps in all.
        shown: whether this rank shows anything.
    """

    def __init__(self, name: str, start: int, total: int, shown: bool) -> None:
        self.console = Console(quiet=not shown, highlight=False, soft_wrap=True)
        self.name = name
        self.total = total
        self._bar: Progress | None = None
        if shown and self.console.is_terminal:
            columns = TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.fields[facts]}")
            self._bar = Progress(TextColumn(name), BarColumn(24), *columns, console=self.console)
            self._task = self._bar.add_task(name, total=total, completed=start, facts="")
            self._bar.start()

    def step(self, step: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def row(self, step: int, row: Mapping[str, float]) -> None:
        """Show a log row: losses, rate and time left."""
        facts = [f"{name.removeprefix('train/')} {row[name]:.4g}" for name in _shown(row)]
        if "perf/samples_per_s" in row:
            left = datetime.timedelta(seconds=round((self.total - step) * row["perf/step_s"]))
            facts += [f"{row['perf/samples_per_s']:.0f} samples/s", f"{left} left"]
        text = "  ".join(facts)
        if self._bar is None:
            self.say(f"{self.name}  step {step}/{self.total}  {text}")
        else:
            self._bar.update(self._task, completed=step, facts=text)

    def say(self, text: str) -> None:
        """A line of its own."""
        self.console.print(text, markup=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _shown(row: Mapping[str, float]) -> list[str]:
    """The loss, the validation loss, the rate: details are in metrics.csv."""
    return [name for name in ("train/loss", "val/loss", "train/lr") if name in row]
