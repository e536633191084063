"""What every system's LightningModule shares; a system adds its loss, its parameter groups and its clamps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from mien import optim
from mien.engine.meters import Window

if TYPE_CHECKING:
    from mien.data.neighbours import Neighbours
    from mien.engine.agree import Agreement
    from mien.engine.guard import Guard
    from mien.engine.holdings import Holdings
    from mien.engine.signals import StopSignals
    from mien.engine.spikes import SpikeDetector
    from mien.recipe import Recipe

Batch = dict[str, Any]
"""A collated micro batch: tensors, batch first; always with `valid`, `index` and `uid` (see `mien.data`)."""


class Services(NamedTuple):
    """What the engine gives a module for the step boundary."""

    guard: Guard
    agreement: Agreement
    signals: StopSignals
    holdings: Holdings
    spikes: SpikeDetector | None


class SystemModule(LightningModule, ABC):
    """A system in training. Subclasses build networks in `__init__` and implement `loss` and `param_groups`.

    Parameters have at least one dimension: neither FSDP2 nor ZeRO can cut a scalar. They change in the
    optimiser's step only, for a checkpoint may be copied during the next pass; what else changes is a buffer.

    The engine calls `attach` before the first step; without it (in a unit test, say) the module is an
    ordinary LightningModule and `loss` can be called directly.

    Args:
        recipe: the run's recipe; `recipe.model` and `recipe.objective` hold the system's own sections.
    """

    unused_parameters: bool = False
    """Whether a step may leave trainable parameters without a gradient; costs DDP a search of the graph."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.window = Window()
        self.skipped = False
        self.spiked = False
        self.stop_signal = 0
        self._losses: list[Tensor] = []
        self._uids: list[Tensor] = []
        self._services: Services | None = None

    @abstractmethod
    def loss(self, batch: Batch, step: int) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """Total loss of a micro batch, and what to log.

        Args:
            batch: this rank's micro batch.
            step: steps done so far; schedules depend on it.

        Returns:
            A 0-d loss whose mean over micro batches and ranks is the loss of the global batch, and 0-d logs
            that are averaged the same way. `loss` is added to the logs by the engine.
        """

    @abstractmethod
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups for AdamW: `params`, and optionally `lr_scale` and `weight_decay`."""

    def bounds(self) -> list[tuple[nn.Parameter, float, float]]:
        """Parameters to clamp after each step, element by element: (parameter, lowest, highest)."""
        return []

    def blocks(self) -> list[nn.Module]:
        """Parts that are gathered, compiled and recomputed one by one, such as the layers of a transformer.

        Each is called through its `forward`, in order, and holds a good share of the parameters; what is left
        over is treated as one part.
        """
        return []

    def take_neighbours(self, table: Neighbours | None) -> None:
        """Be told of the training set's table of neighbours, None where there is none; before the first step.

        A system that has no use for one ignores it. Where the system mines by itself, it is told of every
        new table when that begins to count.
        """

    def mining_epochs(self) -> int | None:
        """Epochs after which the engine has the training set mined anew; None for never."""
        return None

    def mining_rows(self, batch: Batch) -> dict[str, Tensor]:
        """What mining compares of a micro batch: tensors [B, ...], on the host.

        Of a system with `mining_epochs`. Called through `Portable.call`, in evaluation mode.
        """
        raise NotImplementedError

    def mine(self, rows: Mapping[str, Tensor], set_sha: str, facts: Mapping[str, Any]) -> Neighbours:
        """The table of a set from `mining_rows` of all its samples [N, ...], zero where one is damaged."""
        raise NotImplementedError

    def pictures(self, batch: Batch, count: int) -> Tensor | None:
        """Images of a training batch to look at: uint8 [N <= count, 3, H, W]; None where there are none."""
        images = batch.get("img")
        return images[:count] if isinstance(images, Tensor) and images.dtype == torch.uint8 else None

    @torch.no_grad()
    def validation_logs(self, batch: Batch, step: int) -> Mapping[str, Tensor | float]:
        """What to log of a validation batch; by default the loss and its logs.

        As with `loss`, the mean over ranks is the value of the ranks' batches taken as one.
        """
        loss, logs = self.loss(batch, step)
        return {"loss": loss, **logs}

    def attach(self, services: Services) -> None:
        """Give the module what the step boundary needs."""
        self._services = services

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one micro batch; tensors are noted for the log without waiting for the device."""
        loss, logs = self.loss(batch, self.trainer.global_step)
        self._losses.append(loss.detach())
        self._uids.append(batch["uid"])
        self.window.add({"loss": loss, **logs})
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW with the recipe's schedule, stepped once an optimiser step."""
        engine = self.recipe.engine
        optimizer = optim.adamw(self.param_groups(), engine.optimizer)
        schedule = optim.scheduler(optimizer, engine.max_steps, engine.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Clip, and let the ranks agree: is the step finite, and has any of them been told to stop?"""
        assert self._services is not None, "the engine calls attach() before it trains"
        if self.trainer.fit_loop._should_accumulate():
            return  # a strategy that accumulates by itself comes here after every micro batch
        guard, agreement, signals, holdings, spikes = self._services
        norm = holdings.norm()
        loss = torch.stack(self._losses).mean()
        bad = not bool(torch.isfinite(norm) & torch.isfinite(loss))
        any_bad, self.stop_signal = agreement.highest(int(bad), signals.pending)
        self.spiked = False
        if spikes is not None and not any_bad:
            together = agreement.total([float(loss)])[0] / agreement.world
            self.spiked = spikes.sees(together)
        self.skipped = bool(any_bad) or (
            self.spiked and spikes is not None and spikes.config.action != "note"
        )
        uids, self._losses, self._uids = self._uids, [], []
        if any_bad or self.spiked:
            mine = {"loss": str(loss.item()), "grad_norm": str(norm.item()), "uids": torch.cat(uids).tolist()}
            entry = {"step": self.trainer.global_step, "ranks": agreement.gather(mine)}
            (guard.skipped if any_bad else spikes.note)(entry, write=agreement.rank == 0)  # type: ignore[union-attr]
        if self.skipped:
            holdings.drop()  # the stream and the schedule go on
            self.window.drop_step()
            return
        guard.passed()
        self.window.add({"grad_norm": norm})
        self.window.keep_step()
        if self.recipe.engine.clip is not None:
            holdings.clip(self.recipe.engine.clip, norm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then clamp unless the step was skipped."""
        super().optimizer_step(*args, **kwargs)
        if not self.skipped and self._services is not None and not self.trainer.fit_loop._should_accumulate():
            self._services.holdings.clamp(self.bounds())
