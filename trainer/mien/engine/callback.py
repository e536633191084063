"""What happens around a step, in one place and one order: count, average, log, validate, save, leave."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mien import optim
from mien.engine import rng
from mien.engine.agree import Agreement
from mien.engine.ema import Ema
from mien.engine.guard import Guard
from mien.engine.meters import FlopMeter, Speed, TimedStream, peak_flops
from mien.engine.progress import Reporter
from mien.engine.rundir import RunFolder
from mien.engine.samples import SampleLog
from mien.engine.signals import StopSignals
from mien.engine.store_io import Saving, StoreIO
from mien.engine.tracking import Tracker
from mien.engine.validation import Validation
from mien.engine.watchdog import Watchdog
from mien.errors import RunError
from mien.systems.base import SystemModule

if TYPE_CHECKING:
    from mien.recipe import Recipe

log = logging.getLogger("mien.engine")


class Conductor(Callback):
    """Runs the engine's parts at the step boundaries of Lightning's loop; their state is in the checkpoint.

    Args:
        recipe: the run's recipe.
        folder: the run's folder.
        agreement: the ranks.
        signals: stop signals, installed.
        stream: training batches of this rank, wrapped for timing.
        validation: None without `data.val`.
        start: steps done before.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        agreement: Agreement,
        signals: StopSignals,
        stream: TimedStream,
        validation: Validation | None,
        start: int,
    ) -> None:
        self.recipe = recipe
        self.engine = recipe.engine
        self.folder = folder
        self.agreement = agreement
        self.signals = signals
        self.stream = stream
        self.validation = validation
        self.first = agreement.rank == 0
        self.guard = Guard(self.engine.guard, folder.path / "nonfinite.jsonl")
        self.step = start
        self.saved_step = start
        self.stopped_by = 0
        self._save_s = 0.0
        self._io: StoreIO | None = None
        self.best: float | None = None
        self._restored: dict[str, Any] | None = None
        self._flops: float | None = None
        self._micro = 0
        self.reporter = Reporter(recipe.name, start, self.engine.max_steps, self.first)
        self.tracker = Tracker(folder, recipe, start) if self.first else None
        stacks = folder.path / f"stacks-rank{agreement.rank}.txt"
        self.watchdog = Watchdog(self.engine.hang_s, stacks, signals)
        self.samples: SampleLog | None = None
        if recipe.data.log_samples:
            file = folder.path / f"samples-rank{agreement.rank}.csv"
            self.samples = SampleLog(file, self.engine, agreement.rank, agreement.world)

    # --- before the first step

    def on_load_checkpoint(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep what is ours until the parts exist."""
        self._restored = checkpoint["mien"]

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Build what needs the module on its device."""
        assert isinstance(module, SystemModule)
        self.module = module
        module.attach(self.guard, self.agreement, self.signals)
        self.ema = Ema(module, self.engine.ema) if self.engine.ema is not None else None
        self.speed = Speed(self.engine.global_batch, self.stream)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Last act before the loop: the loader exists, so from here on only training draws random numbers."""
        self.signals.install()  # Lightning has just put its own SIGTERM handler over ours
        saved, rank = self._restored, self.agreement.rank
        self._restored = None
        if saved is None:
            rng.seed(self.recipe.seed, rank=rank)
        else:
            if self.ema is not None:
                self.ema.load_state_dict(saved["ema"])
            self.guard.load_state_dict(saved["guard"])
            self.module.window.load_state_dict(saved["window"])
            self.speed.productive_s = saved["productive_s"]
            self.best = saved["best"]
            if len(saved["rng"]) == self.agreement.world:
                rng.restore(saved["rng"][rank])
            else:  # another number of ranks: no generator fits, so begin new ones that depend on the step
                rng.seed(self.recipe.seed, rank=rank, step=self.step)
            optim.refresh(trainer.lr_scheduler_configs[0].scheduler)
        assert isinstance(trainer.strategy.checkpoint_io, StoreIO)
        self._io = trainer.strategy.checkpoint_io
        self.watchdog.beat()
        self.speed.mark()

    # --- a step

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the FLOPs of the first batch where a peak is known to compare them with."""
        if self._flops is None and peak_flops(module.device, self.engine.precision):
            module.eval()  # in training mode the pass would leave traces in buffers
            with rng.preserved(), trainer.precision_plugin.forward_context(), FlopMeter() as meter:
                self.module.validation_logs(batch, self.step)
            module.train()
            self._flops = meter.step_flops * self.engine.accumulate * self.agreement.world
            self.speed.mark()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After each micro batch; after the last one of a step the step is closed."""
        if self.samples is not None:
            self.samples.note(self.step, self._micro, batch)
        self._micro += 1
        if trainer.global_step > self.step:
            self._micro = 0
            self.step = trainer.global_step
            self._close_step(trainer)
            self.speed.mark()

    def _close_step(self, trainer: Trainer) -> None:
        if self.ema is not None and not self.module.skipped:
            self.ema.update()
        self.speed.step()
        self.watchdog.beat()
        assert self._io is not None
        self._io.check()
        self.reporter.step(self.step)
        last = self.step >= self.engine.max_steps
        stop = self.module.stop_signal
        row: dict[str, float] = {}
        if self.step % self.engine.log_every == 0 or last:
            row |= self._training_row(trainer)
        improved = False
        if self.validation is not None and not stop and (last or self._due(self.engine.val_every)):
            found = self.validation.run(self.module, self.ema, self.step)
            row |= {f"val/{name}": value for name, value in found.items()}
            improved = self._improves(found)
            self.watchdog.beat()
        if row:
            self._log(row)
        if last or stop or improved or self._due(self.engine.checkpoint_every):
            self.save(trainer, best=improved, leaving=bool(last or stop))
        if stop and not last:
            self.stopped_by = stop
            trainer.should_stop = True

    def _due(self, every: int | None) -> bool:
        return every is not None and self.step % every == 0

    # --- logs

    def _training_row(self, trainer: Trainer) -> dict[str, float]:
        window = self.module.window.state_dict()
        self.module.window.clear()
        totals = self.agreement.total([number for pair in window.values() for number in pair])
        row = {f"train/{n}": s / max(c, 1) for n, s, c in zip(window, totals[::2], totals[1::2], strict=True)}
        row["train/lr"] = self._last_rate(trainer)
        row["train/skipped"] = float(self.guard.skips)
        row |= self.speed.row()
        if self._save_s:
            row["perf/save_s"], self._save_s = self._save_s, 0.0
        row["perf/goodput"] = self.speed.productive_s / max(self.folder.wall_seconds(), 1e-9)
        peak = peak_flops(self.module.device, self.engine.precision)
        if self._flops and peak and "perf/step_s" in row:
            row["perf/mfu"] = self._flops / self.agreement.world / row["perf/step_s"] / peak
        return row

    def _last_rate(self, trainer: Trainer) -> float:
        """Peak-group learning rate of the step just done (the schedule already stands at the next)."""
        done = optim.factor(self.step - 1, self.engine.max_steps, self.engine.schedule)
        return self.engine.optimizer.lr * done

    def _log(self, row: dict[str, float]) -> None:
        if self.samples is not None:
            self.samples.flush()
        if self.tracker is not None:
            self.tracker.log(self.step, row)
            self.reporter.row(self.step, row)

    def _improves(self, found: dict[str, float]) -> bool:
        best = self.engine.best
        if best is None or best.metric not in found:
            return False
        value = found[best.metric]
        if self.best is None or (value < self.best if best.mode == "min" else value > self.best):
            self.best = value
            return True
        return False

    # --- checkpoints

    def save(self, trainer: Trainer, *, best: bool = False, leaving: bool = False) -> None:
        """Save a checkpoint of this step; on all ranks at once. `leaving` waits until it is on disk."""
        if self.samples is not None:
            self.samples.flush()
        if self.saved_step != self.step:
            began = time.perf_counter()
            facts = {"consumed": self.step * self.engine.global_batch, "recipe_hash": self.recipe.hash}
            how = Saving(facts, self.engine.keep_last, best)
            trainer.save_checkpoint(
                self.folder.store.path(self.step), weights_only=False, storage_options=how
            )
            self.saved_step = self.step
            self._save_s += time.perf_counter() - began
            self.watchdog.beat()
        if leaving:
            assert self._io is not None
            self._io.wait()
        self.speed.mark()

    def on_save_checkpoint(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what Lightning does not know of; called on all ranks, written by the first."""
        checkpoint["mien"] = {
            "step": self.step,
            "consumed": self.step * self.engine.global_batch,
            "world": self.agreement.world,
            "rng": self.agreement.gather(rng.state()),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "guard": self.guard.state_dict(),
            "window": self.module.window.state_dict(),
            "productive_s": self.speed.productive_s,
            "best": self.best,
        }

    def close(self, exit_code: int) -> None:
        """End the watch and the loaders, and leave disk, terminal and tracker in order."""
        self.watchdog.close()
        if self._io is not None:
            try:
                self._io.wait()
            except RunError as error:  # the run is leaving already, and for a reason of its own
                log.error("%s", error)
        self.stream.close()
        self.validation = None
        self.reporter.close()
        if self.samples is not None:
            self.samples.flush()
        if self.tracker is not None:
            self.tracker.close(exit_code)
