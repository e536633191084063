"""The Lightning Trainer of a recipe: where to compute, how many processes, which of its parts are off."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.precision import DoublePrecision, MixedPrecision, Precision

from mien import optim
from mien.engine.config import EngineConfig
from mien.engine.launch import LocalDDP
from mien.engine.portable import OneProcess, Portable
from mien.engine.store_io import StoreIO
from mien.errors import RunError


@dataclass(frozen=True)
class Shape:
    """Where a run computes, resolved from the recipe and the surroundings."""

    accelerator: str
    devices: int
    nodes: int

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.devices * self.nodes


def resolve(engine: EngineConfig, environment: Mapping[str, str] | None = None) -> Shape:
    """Turn `auto` into numbers and compare the numbers with what the launcher started.

    Args:
        engine: the recipe's section.
        environment: variables of the process; default `os.environ`.

    Raises:
        RunError: for a missing GPU, a batch that does not divide, or a launcher that started another number.
    """
    env = os.environ if environment is None else environment
    cuda = torch.cuda.is_available()
    if engine.accelerator == "cuda" and not cuda:
        raise RunError("no CUDA device here", where="engine.accelerator", fix="use auto or cpu")
    accelerator = "cuda" if cuda and engine.accelerator != "cpu" else "cpu"
    gpus = torch.cuda.device_count() if accelerator == "cuda" else 1
    devices, nodes, launched = gpus, 1, None
    if under_srun(env):
        launched, nodes = int(env["SLURM_STEP_NUM_TASKS"]), int(env.get("SLURM_STEP_NUM_NODES", 1))
        devices = launched // nodes
    elif "TORCHELASTIC_RUN_ID" in env:
        launched, devices = int(env["WORLD_SIZE"]), int(env.get("LOCAL_WORLD_SIZE", env["WORLD_SIZE"]))
        nodes = launched // devices
    shape = Shape(
        accelerator,
        devices if engine.devices == "auto" else engine.devices,
        nodes if engine.nodes == "auto" else engine.nodes,
    )
    if launched is not None and shape.world != launched:
        what = (
            f"the launcher started {launched} processes, the recipe asks for {shape.devices} x {shape.nodes}"
        )
        raise RunError(what, where="engine.devices, engine.nodes", fix="use auto for both")
    if accelerator == "cuda" and shape.devices > gpus:
        what = f"{shape.devices} GPUs asked for, {gpus} here"
        raise RunError(what, where="engine.devices", fix=f"use auto or {gpus}")
    if engine.global_batch % (engine.accumulate * shape.world):
        what = f"{engine.global_batch} samples do not divide by accumulate x processes"
        fix = f"use a multiple of {engine.accumulate * shape.world}"
        raise RunError(what, where="engine.global_batch", fix=fix)
    return shape


def under_srun(env: Mapping[str, str]) -> bool:
    """Whether srun started this process as a task (sbatch alone does not)."""
    return (
        "SLURM_STEP_NUM_TASKS" in env and "SLURM_PROCID" in env and env.get("SLURM_STEP_ID", "0").isdecimal()
    )


def make(engine: EngineConfig, shape: Shape) -> Trainer:
    """A Trainer that only loops: saving, signals, logs, progress and validation are the engine's.

    Args:
        engine: the recipe's section.
        shape: where to compute.

    Raises:
        RunError: if a package that the recipe asks for is not installed.
    """
    optim.check_optimizer(engine.optimizer)
    quiet()
    plugins: list[Any] = [StoreIO(engine.checkpoint_async), _environment(shape), _precision(engine, shape)]
    return Trainer(
        accelerator=shape.accelerator,
        devices=shape.devices,
        num_nodes=shape.nodes,
        strategy=_strategy(engine, shape),
        plugins=plugins,
        max_steps=engine.max_steps,
        max_epochs=-1,
        accumulate_grad_batches=engine.accumulate,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _strategy(engine: EngineConfig, shape: Shape) -> Portable:
    if engine.strategy == "fsdp2":
        from mien.engine.fsdp2 import LocalFSDP2

        return LocalFSDP2(shape.world, engine.precision == "bf16")
    if engine.strategy == "deepspeed":
        from mien.engine.zero import LocalZero

        return LocalZero(engine, shape.accelerator)
    if shape.world > 1 or engine.strategy == "ddp":
        return LocalDDP(gradient_as_bucket_view=True)
    return OneProcess(
        torch.device("cuda", torch.cuda.current_device()) if shape.accelerator == "cuda" else "cpu"
    )


def _precision(engine: EngineConfig, shape: Shape) -> Precision:
    """As a plugin: by name Lightning refuses float64 with FSDP2."""
    if engine.strategy == "deepspeed":
        from mien.engine.zero import Float32

        return Float32()
    if engine.precision == "bf16":
        return MixedPrecision("bf16-mixed", shape.accelerator)
    return DoublePrecision() if engine.precision == "64" else Precision()


def quiet() -> None:
    """Silence Lightning's remarks: each is either about a part that is off or said better by the engine."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in ("does not have many workers", "srun", "in eval mode", "weights_only", "treespec"):
        warnings.filterwarnings("ignore", message=f".*{text}.*", module="lightning")


def _environment(shape: Shape) -> ClusterEnvironment:
    if shape.world > 1 and under_srun(os.environ):
        return SLURMEnvironment(auto_requeue=False)  # its own handler saves inside the signal, which can hang
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    return LightningEnvironment()
