"""What a person sees of a sweep at work: a line a trial, and on a terminal a bar for each running one."""

from __future__ import annotations

import time

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from mien.engine.rundir import RunFolder
from mien.engine.tracking import read_metrics
from mien.sweep import space
from mien.sweep.status import short, shown
from mien.sweep.study import Sweep, best

_LOOK_S = 1.0
WORDS = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "interrupted"}


class Lines:
    """Shows a sweep on stdout.

    Args:
        sweep: the sweep.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.console = Console(highlight=False, soft_wrap=True)
        self._bars: dict[int, TaskID] = {}
        self._bar: Progress | None = None
        self._looked = 0.0
        if self.console.is_terminal:
            facts = TextColumn("{task.fields[facts]}")
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(24),
                TimeElapsedColumn(),
                facts,
                console=self.console,
            )
            self._bar.start()

    def started(self, number: int) -> None:
        """A trial begins or goes on."""
        self.say(f"{self._name(number)}  {self._point(number)}")
        if self._bar is not None and number not in self._bars:
            total = self.sweep.recipe(number).engine.max_steps
            self._bars[number] = self._bar.add_task(f"trial {number}", total=total, facts="")

    def look(self, running: list[int]) -> None:
        """Move the bars; now and then, for it reads files."""
        if self._bar is None or time.monotonic() - self._looked < _LOOK_S:
            return
        self._looked = time.monotonic()
        for number in running:
            folder = RunFolder.newest(self.sweep.recipe(number))
            rows = read_metrics(folder.path / "metrics.csv", last=1) if folder else []
            if rows:
                loss = f"loss {rows[0]['train/loss']:.4g}" if "train/loss" in rows[0] else ""
                self._bar.update(self._bars[number], completed=rows[0]["step"], facts=loss)

    def ended(self, trial: FrozenTrial, last_words: list[str]) -> None:
        """A trial has ended or was interrupted."""
        if self._bar is not None and trial.number in self._bars:
            self._bar.remove_task(self._bars.pop(trial.number))
        facts = [self._name(trial.number), WORDS[trial.state.name]]
        if trial.value is not None:
            facts.append(f"{self.sweep.config.metric} {trial.value:.4g}")
        if "seconds" in trial.user_attrs:
            facts.append(f"{trial.user_attrs['seconds']:.0f} s")
        if "reason" in trial.user_attrs:
            facts.append(trial.user_attrs["reason"])
        top = best(self.sweep)
        if trial.state == TrialState.COMPLETE and top is not None and top.number == trial.number:
            facts.append("the best so far")
        self.say("  ".join(facts))
        for line in last_words:
            self.say(f"    {line}")

    def say(self, text: str) -> None:
        """A line of its own."""
        self.console.print(text, markup=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _point(self, number: int) -> str:
        seeds = self.sweep.config.seeds
        params = space.values(self.sweep.config, self.sweep.trials()[number].params)
        told = [f"{short(key)} {shown(value)}" for key, value in params.items()]
        return "  ".join([*told, *([f"seed {seeds[number % len(seeds)]}"] if seeds else [])])

    def _name(self, number: int) -> str:
        return f"trial {number} ({number + 1} of {self.sweep.config.total})"
