"""FSDP2: parameters, gradients and moments as DTensors, each rank holding some rows of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy, ParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

from mien.engine.holdings import Replicated
from mien.engine.launch import Launcher
from mien.engine.pieces import Piece
from mien.engine.portable import Portable, straighten

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule

    from mien.systems.base import SystemModule


class LocalFSDP2(Portable, ModelParallelStrategy):
    """Lightning's model-parallel strategy with data parallelism alone.

    Each of the module's `blocks` is gathered for its own forward and backward pass, the rest for the step.

    Args:
        world: processes in all.
        bf16: gather and compute the blocks in bfloat16; gradients are reduced in float32.
    """

    def __init__(self, world: int, bf16: bool) -> None:
        super().__init__(data_parallel_size=world, tensor_parallel_size=1, save_distributed_checkpoint=False)
        self._bf16 = bf16

    def setup_environment(self) -> None:
        """Join the ranks and lay out their mesh; Lightning's own wants the module first."""
        ParallelStrategy.setup_environment(self)
        self._setup_distributed()
        if self._device_mesh is None:
            kind = self.root_device.type
            self._device_mesh = init_device_mesh(kind, (self.world_size,), mesh_dim_names=("data_parallel",))

    def prepare(self, module: SystemModule) -> None:
        """Cut the module into shards as soon as Lightning has made the mesh of ranks."""

        def configure_model() -> None:
            shard(module, self.device_mesh, self._bf16)

        module.configure_model = configure_model  # type: ignore[method-assign]

    def hold(self, module: LightningModule) -> Rows:
        """Rows of each parameter."""
        return Rows(module, self.optimizers[0], self.world_size)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module's own, which `shard` has made gather and free parameters."""
        assert self.lightning_module is not None
        with self.precision_plugin.train_step_context():
            return self.lightning_module.training_step(*args, **kwargs)

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = Launcher(self.cluster_environment, self.num_processes, self.num_nodes)


def shard(module: SystemModule, mesh: Any, bf16: bool) -> None:
    """Turn the parameters into DTensors over the mesh, in place."""
    # The rest of the module keeps float32 parameters: temperatures, heads and embeddings, under autocast.
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if bf16 else None, reduce_dtype=torch.float32 if bf16 else None,
        cast_forward_inputs=False,
    )  # fmt: skip
    straighten(module)
    for block in module.blocks():
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(module, mesh=mesh)
    for name in ("training_step", "validation_logs", "mining_rows"):
        register_fsdp_forward_method(module, name)


class Rows(Replicated):
    """What FSDP2 leaves on a rank: rows of each parameter."""

    sharded = True

    def __init__(self, module: nn.Module, optimizer: Any, world: int) -> None:
        super().__init__(module, optimizer)
        self._world = world

    def piece(self, parameter: nn.Parameter) -> Piece | None:  # type: ignore[override]
        """The rows of this rank."""
        return self._cut(parameter, parameter.data)

    def _moment(self, parameter: nn.Parameter, moment: Tensor) -> Piece:
        return self._cut(parameter, moment)

    def _cut(self, parameter: nn.Parameter, tensor: Tensor) -> Piece:
        assert isinstance(tensor, DTensor)
        local = tensor.to_local()
        rows = tensor.shape[0]
        each = -(-rows // self._world)  # as torch.chunk cuts: all alike, the last ones short or empty
        first = min(tensor.device_mesh.get_local_rank() * each, rows)
        return Piece(local, first * (tensor.numel() // max(rows, 1)), tuple(tensor.shape))

    def refresh(self) -> None:
        """Give up gathered copies: those that stay after a pass would outlive a change of rows."""
        for part in self.module.modules():
            if isinstance(part, FSDPModule):
                part.reshard()

    def norm(self) -> Tensor:
        """Squares of rows add up over the ranks."""
        squares = get_total_norm(self._rows()).square()
        dist.all_reduce(squares)
        return squares.sqrt()

    def clip(self, limit: float, norm: Tensor) -> None:
        """Scale in place, as torch does it."""
        scale = torch.clamp(limit / (norm + 1e-6), max=1.0)
        torch._foreach_mul_(self._rows(), scale)

    def _rows(self) -> list[Tensor]:
        """This rank's rows of the gradients."""
        return [p.grad.to_local() for p in self.parameters.values() if isinstance(p.grad, DTensor)]
