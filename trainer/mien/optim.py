"""AdamW from parameter groups, and the learning rate as a closed form of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from mien.engine.config import OptimizerConfig, ScheduleConfig
from mien.errors import RunError


def check_optimizer(config: OptimizerConfig) -> None:
    """Refuse an optimiser whose package is absent.

    Raises:
        RunError: if it is.
    """
    if config.kind == "adamw8bit" and find_spec("torchao") is None:
        fix = "pip install 'mien[lowbit]', or use adamw"
        raise RunError("torchao is not installed", where="engine.optimizer.kind", fix=fix)


def adamw(groups: Iterable[Mapping[str, Any]], config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW over parameter groups.

    Args:
        groups: mappings with `params`, and optionally `lr_scale` (default 1) and `weight_decay` (default the
            config's).
        config: rates and moments.

    Returns:
        The optimiser, fused on CUDA unless moments take eight bits; frozen parameters and empty groups are
        left out.
    """
    built: list[dict[str, Any]] = []
    for group in groups:
        params = [p for p in group["params"] if p.requires_grad]
        if not params:
            continue
        decay = group.get("weight_decay", config.weight_decay)
        built.append({"params": params, "lr": config.lr * group.get("lr_scale", 1.0), "weight_decay": decay})
    if config.kind == "adamw8bit":
        from mien.optim8bit import AdamW8bit

        small: torch.optim.Optimizer = AdamW8bit(built, lr=config.lr, betas=config.betas, eps=config.eps)
        return small
    fused = all(p.is_cuda for group in built for p in group["params"])
    return torch.optim.AdamW(built, lr=config.lr, betas=config.betas, eps=config.eps, fused=fused)


def decay_groups(module: nn.Module, lr_scale: float = 1.0) -> list[dict[str, Any]]:
    """Two groups: matrices and kernels decay as configured; gains, biases, other vectors and scalars do not.

    Args:
        module: whose trainable parameters to split.
        lr_scale: factor on the learning rate of both groups.
    """
    params = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in params if p.ndim >= 2], "lr_scale": lr_scale},
        {"params": [p for p in params if p.ndim < 2], "lr_scale": lr_scale, "weight_decay": 0.0},
    ]


def factor(step: int, max_steps: int, config: ScheduleConfig) -> float:
    """Learning rate at a step as a fraction of the peak, in [0, 1].

    Linear warm-up ((step + 1) / warmup), then half a cosine from 1 to `final` (Loshchilov and Hutter, 2017).

    Args:
        step: steps already done, >= 0; beyond `max_steps` the last value holds.
        max_steps: length of the run, from the recipe.
        config: shape of the schedule.
    """
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.kind == "constant":
        return 1.0
    progress = min(1.0, (step - config.warmup) / max(1, max_steps - config.warmup))
    return config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * progress))


def scheduler(optimizer: torch.optim.Optimizer, max_steps: int, config: ScheduleConfig) -> LambdaLR:
    """LambdaLR over `factor`; step it once an optimiser step."""
    return LambdaLR(optimizer, lambda step: factor(step, max_steps, config))


def refresh(schedule: Any) -> None:
    """Set the rate of the coming step from the schedule, a `scheduler(...)`, as configured now.

    After a restore the optimiser holds the rate of the schedule that was saved; the two differ when
    `max_steps` grew.
    """
    rates = [
        base * shape(schedule.last_epoch)
        for base, shape in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
    ]
    for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)  # that of `adamw8bit`, which is compiled around it
        else:
            group["lr"] = rate
    schedule._last_lr = rates
