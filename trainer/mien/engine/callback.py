"""What happens around a step, in one place and one order: count, average, log, validate, save, leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from mien import optim
from mien.engine import rng
from mien.engine.agree import Agreement
from mien.engine.clock import StepClock
from mien.engine.ema import Ema
from mien.engine.guard import Guard
from mien.engine.meters import FlopMeter, Speed, TimedStream, peak_flops
from mien.engine.pieces import PartFiles
from mien.engine.portable import Portable
from mien.engine.profiling import Profiling
from mien.engine.progress import Reporter
from mien.engine.remining import FOLDER, Remining
from mien.engine.rundir import RunFolder
from mien.engine.samples import SampleLog, write_sheet
from mien.engine.saver import Saver
from mien.engine.signals import StopSignals
from mien.engine.snapshot import Snapshot
from mien.engine.spikes import SpikeDetector
from mien.engine.tracking import Tracker
from mien.engine.validation import Validation
from mien.engine.watchdog import Watchdog
from mien.errors import RunError
from mien.systems.base import Services, SystemModule

if TYPE_CHECKING:
    from mien.recipe import Recipe


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
        remining: of a run that mines its own training set.
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
        remining: Remining | None = None,
    ) -> None:
        self.recipe = recipe
        self.engine = recipe.engine
        self.folder = folder
        self.agreement = agreement
        self.signals = signals
        self.stream = stream
        self.validation = validation
        self.remining = remining
        self.first = agreement.rank == 0
        self.guard = Guard(self.engine.guard, folder.path / "nonfinite.jsonl")
        spike = self.engine.spike
        self.spikes = SpikeDetector(spike, folder.path / "spikes.jsonl") if spike is not None else None
        self.step = start
        self.saver = Saver(recipe, folder, agreement.rank, start)
        self.stopped_by = 0
        self.best: float | None = None
        self._restored: dict[str, Any] | None = None
        self._flops: float | None = None
        self._micro = 0
        self.reporter = Reporter(recipe.name, start, self.engine.max_steps, self.first)
        self.tracker = Tracker(folder, recipe, start) if self.first else None
        rank, world = agreement.rank, agreement.world
        self.watchdog = Watchdog(self.engine.hang_s, folder.path / f"stacks-rank{rank}.txt", signals)
        self.profiling = Profiling(self.engine.profile, folder.path / "profile", start, rank, world)
        self.samples: SampleLog | None = None
        if recipe.data.log_samples:
            self.samples = SampleLog(folder.path / f"samples-rank{rank}.csv", self.engine, rank, world)

    # --- before the first step

    def on_load_checkpoint(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep what is ours until the parts exist."""
        self._restored = checkpoint["mien"]
        self._parts: PartFiles = checkpoint["parts"]

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Build what needs the module on its device."""
        assert isinstance(module, SystemModule)
        assert isinstance(trainer.strategy, Portable)
        self.module = module
        self.holdings = trainer.strategy.holdings
        module.attach(Services(self.guard, self.agreement, self.signals, self.holdings, self.spikes))
        self.clock = StepClock(module.device)
        self.ema = Ema(self.holdings, self.engine.ema) if self.engine.ema is not None else None
        if self.remining is not None:
            self.remining.attach(module, self.ema, self.saver.settle, self.watchdog.beat)
        self.speed = Speed(self.engine.global_batch, self.stream)
        self.snapshot = Snapshot(
            self.agreement, self.holdings, self.ema, self.guard, self.spikes, module.window, self.speed
        )

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Last act before the loop: the loader exists, so from here on only training draws random numbers."""
        self.signals.install()  # Lightning has just put its own SIGTERM handler over ours
        saved, self._restored = self._restored, None
        if saved is None:
            rng.seed(self.recipe.seed, rank=self.agreement.rank)
        else:
            self.best = saved["best"]
            if self.remining is not None and saved["neighbours"] != self.remining.in_use(self.step):
                raise RunError(
                    "the table of neighbours is not the one that the checkpoint was trained with",
                    where=self.folder.path / FOLDER, fix="bring it back, or start a new run without --resume",
                )  # fmt: skip
            self.snapshot.bring_back(saved, self._parts, seed=self.recipe.seed, step=self.step)
            optim.refresh(trainer.lr_scheduler_configs[0].scheduler)
        self.saver.attach(trainer, self.snapshot)
        self.watchdog.beat()
        self.speed.mark()

    # --- a step

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the FLOPs of the first batch where a peak is known to compare them with."""
        if self._flops is None and peak_flops(module.device, self.engine.precision):
            module.eval()  # in training mode the pass would leave traces in buffers
            assert isinstance(trainer.strategy, Portable)
            with rng.preserved(), FlopMeter() as meter:
                trainer.strategy.validate(batch, self.step)
            module.train()
            self._flops = meter.step_flops * self.engine.accumulate * self.agreement.world
            self.speed.mark()
        if not self._micro:
            self.profiling.before(self.step + 1)
        self.clock.begin()

    def on_before_backward(self, trainer: Trainer, module: LightningModule, loss: Tensor) -> None:
        """The forward pass has ended."""
        self.clock.mark("forward")

    def on_after_backward(self, trainer: Trainer, module: LightningModule) -> None:
        """The backward pass has ended, and with it what of the ranks' exchange it did not hide."""
        self.clock.mark("backward")

    def on_before_optimizer_step(
        self, trainer: Trainer, module: LightningModule, optimizer: Optimizer
    ) -> None:
        """From here on weights change: wait for the copy of those that are being saved."""
        self.saver.settle()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After each micro batch; after the last one of a step the step is closed."""
        if self.samples is not None:
            self.samples.note(self.step, self._micro, batch)
        if self.tracker is not None and self._micro == 0:
            self._show(self.tracker, batch)
        self._micro += 1
        if trainer.global_step > self.step:
            self._micro = 0
            self.step = trainer.global_step
            self.clock.mark("optimizer")
            self.clock.step()
            self.profiling.after(self.step)
            self._close_step(trainer)
            self.speed.mark()

    def _close_step(self, trainer: Trainer) -> None:
        if self.module.spiked and self.engine.spike and self.engine.spike.action == "rollback":
            self.saver.wait()
            self.snapshot.roll_back(self.folder.store, self.step, self.engine.checkpoint_every)
        elif self.ema is not None and not self.module.skipped:
            self.ema.update()
        self.speed.step()
        self.watchdog.beat()
        self.saver.check()
        self.reporter.step(self.step)
        last = self.step >= self.engine.max_steps
        stop = self.module.stop_signal
        row: dict[str, float] = {}
        if self.step % self.engine.log_every == 0 or last:
            row |= self._training_row()
        improved = False
        if self.validation is not None and (last or (not stop and self._due(self.engine.val_every))):
            found = self.validation.run(self.module, self.ema, self.step)
            row |= {f"val/{name}": value for name, value in found.items()}
            improved = self._improves(found)
            self.watchdog.beat()
        if row:
            self._log(row)
        if last or stop or improved or self._due(self.engine.checkpoint_every):
            self.save(best=improved, leaving=bool(last or stop))
        if stop and not last:
            self.stopped_by = stop
            trainer.should_stop = True

    def _due(self, every: int | None) -> bool:
        return every is not None and self.step % every == 0

    def _show(self, tracker: Tracker, batch: Any) -> None:
        """Pictures of the first micro batch of the first step, and of each before a validation."""
        coming, count = self.step + 1, self.recipe.tracking.images
        every = self.engine.val_every
        if count and (coming == 1 or (every is not None and coming % every == 0)):
            images = self.module.pictures(batch, count)
            if images is not None:
                tracker.picture(coming, write_sheet(images, self.folder.path / "samples", coming))

    # --- logs

    def _training_row(self) -> dict[str, float]:
        window = self.module.window.state_dict()
        self.module.window.clear()
        totals = self.agreement.total([number for pair in window.values() for number in pair])
        row = {f"train/{n}": s / max(c, 1) for n, s, c in zip(window, totals[::2], totals[1::2], strict=True)}
        # Of the step just done: the schedule already stands at the next.
        done = optim.factor(self.step - 1, self.engine.max_steps, self.engine.schedule)
        row["train/lr"] = self.engine.optimizer.lr * done
        row["train/skipped"] = float(self.guard.skips)
        if self.spikes is not None:
            row["train/spikes"] = float(self.spikes.spikes)
        row |= self.speed.row() | self.clock.row() | self.profiling.communication
        if saving := self.saver.seconds():
            row["perf/save_s"] = saving
        row["perf/goodput"] = self.speed.productive_s / max(self.folder.wall_seconds(), 1e-9)
        peak = peak_flops(self.module.device, self.engine.precision)
        if self._flops and peak and "perf/step_s" in row:
            row["perf/mfu"] = self._flops / self.agreement.world / row["perf/step_s"] / peak
        return row

    def _log(self, row: dict[str, float]) -> None:
        if self.samples is not None:
            self.samples.flush()
        if self.tracker is not None:
            self.tracker.log(self.step, row)
            self.reporter.row(self.step, row)

    def _improves(self, found: dict[str, float]) -> bool:
        watched = self.engine.best
        if watched is None or watched.metric not in found:
            return False
        value = found[watched.metric]
        better = self.best is None or (value < self.best if watched.mode == "min" else value > self.best)
        self.best = value if better else self.best
        return better

    # --- checkpoints

    def save(self, *, best: bool = False, leaving: bool = False) -> None:
        """Save a checkpoint of this step; on all ranks at once. `leaving` waits until it is on disk."""
        if self.samples is not None:
            self.samples.flush()
        self.saver.save(self.step, best=best, leaving=leaving)
        self.watchdog.beat()
        self.speed.mark()

    def on_save_checkpoint(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what Lightning does not know of; called on all ranks, written by the first."""
        consumed = self.step * self.engine.global_batch
        checkpoint["mien"] = self.snapshot.take(self.step, consumed, self.best)
        checkpoint["mien"]["neighbours"] = self.remining.in_use(self.step) if self.remining else None

    def close(self, exit_code: int) -> None:
        """End the watch and the loaders, and leave disk, terminal and tracker in order."""
        self.watchdog.close()
        self.profiling.close()
        self.saver.close()
        self.stream.close()
        self.validation = None
        self.reporter.close()
        if self.samples is not None:
            self.samples.flush()
        if self.tracker is not None:
            saved = self.folder.store.path(self.saver.step)
            if self.recipe.tracking.artifacts and saved.is_dir():
                self.tracker.checkpoint(self.saver.step, saved)
            self.tracker.close(exit_code)
