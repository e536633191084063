"""What a trial tells the sweep while it trains, and how it is given up when it falls behind."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mien.engine.agree import Agreement
from mien.engine.rundir import RunFolder
from mien.engine.tracking import read_metrics
from mien.errors import RunError
from mien.recipe import Recipe
from mien.sweep import space
from mien.sweep.study import Sweep


class TrialWatch(Callback):
    """Reports the metric after each validation; rank 0 alone touches the sweep, all ranks follow it.

    Args:
        sweep: the sweep.
        number: of the trial.
        generation: of the claim that it is trained under; None without one.
        recipe: of the trial.
    """

    def __init__(self, sweep: Sweep, number: int, generation: int | None, recipe: Recipe) -> None:
        self.sweep = sweep
        self.number = number
        self.generation = generation
        self.recipe = recipe
        engine, metric = recipe.engine, sweep.config.metric
        self.every = engine.val_every if metric.startswith("val/") else engine.log_every
        self.pruned = False
        self.pruner = space.pruner(sweep.config, engine.max_steps, self.every or engine.max_steps)
        self._step = 0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """The ranks are joined and the run folder exists."""
        self.agreement = Agreement()
        self._step = trainer.global_step
        if self.agreement.rank == 0:
            folder = RunFolder.newest(self.recipe)
            assert folder is not None
            self._file = folder.path / "metrics.csv"

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After the engine has closed a step: look at what it wrote.

        Raises:
            RunError: if the metric does not exist, or the trial is somebody else's by now.
        """
        step = trainer.global_step
        if step == self._step:
            return  # a micro batch in the middle of a step
        self._step = step
        last = step >= self.recipe.engine.max_steps
        if self.every is None or step % self.every or last or trainer.should_stop:
            return
        found = self.agreement.share(self._look(step) if self.agreement.rank == 0 else None)
        if isinstance(found, RunError):
            raise found
        self.pruned = bool(found)
        if self.pruned:
            trainer.should_stop = True

    def _look(self, step: int) -> bool | RunError:
        """Whether to give the trial up at this step."""
        if self.generation is not None and not self.sweep.claims.counts(self.number, self.generation):
            return RunError("another worker has taken this trial over", where=self.sweep.root(self.number))
        row = next(iter(read_metrics(self._file, last=1)), {})
        if row.get("step") != step:
            return False
        metric = self.sweep.config.metric
        if metric not in row:
            return unknown_metric(metric, row, self.sweep)
        trial = self.sweep.note(self.number, step, row[metric])
        if self.sweep.config.pruning.rule == "none":
            return False
        return math.isnan(row[metric]) or self.pruner.prune(self.sweep.study, trial)


def unknown_metric(metric: str, row: dict[str, float], sweep: Sweep) -> RunError:
    """The error of a metric that no row of metrics.csv has."""
    known = ", ".join(name for name in row if name.startswith(("val/", "train/")))
    fix = f"known: {known}; mend the file and give it another name="
    return RunError(f"no such metric: {metric}", where=f"{sweep.folder / 'sweep.yaml'}: metric", fix=fix)
