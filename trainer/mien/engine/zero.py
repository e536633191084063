"""DeepSpeed ZeRO: moments (stage 1), gradients (2) and weights (3) cut over the ranks."""

from __future__ import annotations

import importlib.util
import logging
import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.plugins.precision import DeepSpeedPrecision
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy
from torch import Tensor, nn

from mien.engine.config import EngineConfig
from mien.engine.launch import Launcher
from mien.engine.portable import Portable, straighten
from mien.engine.zero_holdings import Stage3, Stages12
from mien.errors import RunError

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule

    from mien.engine.holdings import Holdings
    from mien.systems.base import SystemModule


def settings(engine: EngineConfig) -> dict[str, Any]:
    """DeepSpeed's configuration of a recipe.

    Weights stay in float32 and bfloat16 is autocast's, as under every other strategy, so that a recipe means
    the same everywhere; sums of gradients travel in float32.
    """
    zero: dict[str, Any] = {
        "stage": engine.zero.stage,
        "contiguous_gradients": True,
        "overlap_comm": False if engine.zero.offload else torch.cuda.is_available(),
        "reduce_bucket_size": 50_000_000,
    }
    if engine.zero.stage < 3:
        zero["allgather_bucket_size"] = 200_000_000
    if engine.zero.offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    tree: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,  # only reported; batches are the stream's
        "gradient_clipping": engine.clip or 0.0,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,  # torch's AdamW steps on the host too, without a compiler
        "communication_data_type": "fp32",
        "steps_per_print": None,
    }
    if engine.precision == "bf16":
        tree["torch_autocast"] = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
    return tree


_SHARED_MEMORY = "deepspeed_shm_comm"


class LocalZero(Portable, DeepSpeedStrategy):
    """Lightning's DeepSpeed strategy on any device, with checkpoints that are pieces.

    Args:
        engine: the recipe's section.
        accelerator: `cpu` or `cuda`.

    Raises:
        RunError: if DeepSpeed is not installed.
    """

    def __init__(self, engine: EngineConfig, accelerator: str) -> None:
        if importlib.util.find_spec("deepspeed") is None:
            fix = "pip install 'mien[gpu]', or use ddp or fsdp2"
            raise RunError("deepspeed is not installed", where="engine.strategy", fix=fix)
        os.environ.setdefault("DS_ACCELERATOR", accelerator)  # read when deepspeed is first imported
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        super().__init__(config=settings(engine))
        self._stage = engine.zero.stage
        self._offload = engine.zero.offload

    def setup_environment(self) -> None:
        """Join the ranks; Lightning's own refuses everything but CUDA."""
        DDPStrategy.setup_environment(self)

    def setup_distributed(self) -> None:
        """As Lightning's, which also wants the numbers of CUDA devices."""
        import deepspeed

        # Else the first start on a CPU compiles it, for a minute or two; only inference makes use of it.
        deepspeed.ops.__compatible_ops__[_SHARED_MEMORY] = False
        self.set_world_ranks()
        self._init_deepspeed_distributed()

    def prepare(self, module: SystemModule) -> None:
        """DeepSpeed lays parameters end to end."""
        straighten(module)

    def hold(self, module: LightningModule) -> Holdings:
        """Stretches of each parameter."""
        kind = Stage3 if self._stage == 3 else Stages12
        return kind(module, self.optimizers[0], self.global_rank)

    def _setup_model_and_optimizer(self, model: nn.Module, optimizer: Any, lr_scheduler: Any = None) -> Any:
        """As Lightning's, which also names the device by a number that only CUDA devices have."""
        import deepspeed

        engine, zero, _, _ = deepspeed.initialize(
            model=model,
            config=self.config,
            model_parameters=[p for p in model.parameters() if p.requires_grad],
            optimizer=optimizer,
            lr_scheduler=lr_scheduler,
            dist_init_required=False,
        )
        return engine, zero

    def call(self, name: str, *args: Any) -> Any:
        """Through DeepSpeed's engine, which gathers weights and sets autocast."""
        assert self.model is not None
        assert self.lightning_module is not None
        return self._forward_redirection(self.model, self.lightning_module, name, *args)

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = Launcher(self.cluster_environment, self.num_processes, self.num_nodes)


class Float32(DeepSpeedPrecision):
    """Weights and inputs as they are: DeepSpeed's engine sets autocast where the recipe asks for bfloat16."""

    def __init__(self) -> None:
        super().__init__("32-true")

    def convert_module(self, module: nn.Module) -> nn.Module:
        """As it is: buffers may be float64."""
        return module

    def convert_input(self, data: Any) -> Any:
        """As it is."""
        return data

    def forward_context(self) -> AbstractContextManager[Any]:
        """Nothing: see the class."""
        return nullcontext()

    def backward(self, tensor: Tensor, model: Any, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Lightning has divided the loss by the number of micro batches already."""
        model.trainer.model.backward(tensor, scale_wrt_gas=False)
