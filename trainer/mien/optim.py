"""Optimisers from parameter groups, and the learning rate as a closed form of the step."""

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
from mien.optim_muon import Muon


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
        groups: mappings with `params`, and optionally `lr_scale` (default 1), `weight_decay` (default the
            config's) and `orthogonal` (default no): whether `muon` turns its matrices.
        config: rates and moments.

    Returns:
        The optimiser, fused on CUDA unless moments take eight bits; frozen parameters and empty groups are
        left out.

    Raises:
        RunError: for `muon` where no group is `orthogonal`.
    """
    built: list[dict[str, Any]] = []
    for group in groups:
        params = [p for p in group["params"] if p.requires_grad]
        if not params:
            continue
        decay = group.get("weight_decay", config.weight_decay)
        rate = config.lr * group.get("lr_scale", 1.0)
        orthogonal = group.get("orthogonal", False)
        built.append({"params": params, "lr": rate, "weight_decay": decay, "orthogonal": orthogonal})
    if config.kind == "muon":
        if not any(group["orthogonal"] for group in built):
            what = "this system does not say which of its matrices muon may turn"
            raise RunError(what, where="engine.optimizer.kind", fix="use adamw")
        return Muon(built, config.lr, config.betas, config.eps)
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


def inner_groups(module: nn.Module, outer: tuple[str, ...], lr_scale: float = 1.0) -> list[dict[str, Any]]:
    """`decay_groups` with the matrices inside apart, which `muon` may turn.

    Args:
        module: whose trainable parameters to split.
        outer: beginnings of the names of matrices at the ends of a network: they meet data, not features.
        lr_scale: factor on the learning rate of all groups.
    """
    inner = {
        name: p
        for name, p in module.named_parameters()
        if p.requires_grad and p.ndim >= 2 and not name.startswith(outer)
    }
    taken = {id(p) for p in inner.values()}
    rest = decay_groups(module, lr_scale)
    for group in rest:
        group["params"] = [p for p in group["params"] if id(p) not in taken]
    return [{"params": list(inner.values()), "lr_scale": lr_scale, "orthogonal": True}, *rest]


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
