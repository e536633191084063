"""What all strategies share: checkpoints of pieces, which any of them at any world size takes up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.strategies import SingleDeviceStrategy, Strategy

from mien.engine.holdings import Holdings, Replicated
from mien.engine.store_io import StoreIO

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from mien.systems.base import Batch, SystemModule


class Portable(Strategy):
    """Mixed into a Lightning strategy, in front of it."""

    holdings: Holdings
    """What this rank holds; there from the end of `setup`."""

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Yes: only then is it known which rank holds what."""
        return True

    @property
    def lightning_restore_optimizer(self) -> bool:
        """No: moments come with the weights."""
        return False

    def prepare(self, module: SystemModule) -> None:
        """Last word before `fit`, on the module as its system built it."""

    def hold(self, module: LightningModule) -> Holdings:
        """The holdings of a module that is set up."""
        return Replicated(module, self.optimizers[0])

    def setup(self, trainer: Trainer) -> None:
        """Place the module, then look who holds what."""
        super().setup(trainer)
        assert self.lightning_module is not None
        self.holdings = self.hold(self.lightning_module)

    def validate(self, batch: Batch, step: int) -> Any:
        """`validation_logs` of the module, at the precision of the run."""
        return self.call("validation_logs", batch, step)

    def call(self, name: str, *args: Any) -> Any:
        """A method of the module that runs its networks, at the run's precision; on all ranks at once.

        Strategies know such methods by name: `validation_logs` and `mining_rows`.
        """
        module: Any = self.lightning_module
        with self.precision_plugin.forward_context():
            return getattr(module, name)(*args)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Empty: weights go into the checkpoint as pieces."""
        return {}

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Empty: moments go into the checkpoint as pieces."""
        return {}

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None
    ) -> None:
        """Every rank that holds something of its own writes it."""
        if self.is_global_zero or self.holdings.sharded:
            self.checkpoint_io.save_checkpoint(checkpoint, filepath, storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Open a checkpoint: its state, and its files under `parts`."""
        assert isinstance(self.checkpoint_io, StoreIO)
        return self.checkpoint_io.load_checkpoint(checkpoint_path)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Take weights and moments out of it."""
        self.holdings.restore(checkpoint["parts"], checkpoint["mien"]["adam_steps"])


def straighten(module: torch.nn.Module) -> None:
    """Lay every parameter out row by row, as those who cut it expect: channels-last weights are not."""
    for parameter in module.parameters():
        parameter.data = parameter.data.reshape(-1).view(parameter.shape)


class OneProcess(Portable, SingleDeviceStrategy):
    """A single process on one device."""
