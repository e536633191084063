"""Every layout of a recipe on some GPUs, what each needs and costs, and the one to take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mien.plan.assume import Assumptions
from mien.plan.cost import Cost, cost_of
from mien.plan.gpus import Gpu
from mien.plan.memory import STRATEGIES, Layout, Memory, host_bytes, memory
from mien.plan.speed import Step, step_of
from mien.plan.wire import Traffic, features, strategy_traffic, volume
from mien.plan.workload import Workload


@dataclass(frozen=True)
class Evaluated:
    """A layout and what follows from it."""

    layout: Layout
    memory: Memory
    step: Step
    cost: Cost
    traffic: Traffic
    """Of a step: gradients, weights and embeddings."""
    gathered: Traffic
    """Of these, embeddings."""
    mfu: float
    samples_s: float
    """Of all GPUs."""
    negatives: int
    """Samples that a sample is compared with, where the loss compares."""
    host: float
    """Bytes of host memory a node that offloading takes."""
    fits: bool
    same_training: bool
    """Whether the loss is the recipe's: not one over fewer samples at a time."""


def candidates(batch: int, accumulate: int, world: int, per_node: int, deepest: int = 64) -> Iterator[Layout]:
    """Layouts of a global batch: micro batches halve while they divide, down to 1.

    Args:
        batch: samples a step.
        accumulate: of the recipe; smaller micro batches multiply it.
        world: GPUs.
        per_node: of a node.
        deepest: most micro batches a step, in terms of the recipe's.
    """
    times = 1
    while times <= deepest and batch % (world * accumulate * times) == 0:
        micro = batch // (world * accumulate * times)
        for strategy in STRATEGIES:
            for checkpointing in (False, True):
                for offload in (False, True):
                    divides = strategy.startswith("zero")
                    if (offload and not divides) or (world == 1 and strategy != "ddp" and not offload):
                        continue
                    yield Layout(strategy, micro, accumulate * times, checkpointing, world, per_node, offload)
        times *= 2


def evaluate(layout: Layout, work: Workload, gpu: Gpu, assume: Assumptions) -> Evaluated:
    """What a layout needs and costs."""
    engine, weights = work.recipe.engine, work.weights
    micro, world = layout.micro, layout.world
    used = work.activity(micro, world, layout.checkpointing)
    needed = memory(
        layout, weights, used, work.batch_bytes(micro), assume,
        master=work.master, compute=work.compute, ema=work.ema, moments=work.moments,
    )  # fmt: skip
    gathered = features(work.objective(micro, world).sent, world, layout.per_node)
    moved = volume(layout.strategy, weights.trained, work.master, work.compute, layout.accumulate)
    step = step_of(
        layout, weights, work.seconds(micro, world, layout.checkpointing, gpu, assume), moved, gathered, gpu,
        assume, master=work.master, ema=work.ema, workers=work.recipe.data.workers,
    )  # fmt: skip
    state = weights.trained * (work.master * (1.0 + work.ema) + work.moments)
    shards = 1 if layout.strategy == "ddp" else world
    cost = cost_of(step.total, engine.max_steps, engine.checkpoint_every, state, world, shards, assume)
    embeddings = Traffic(
        gathered.node * layout.accumulate, gathered.network * layout.accumulate,
        gathered.collectives * layout.accumulate,
    )  # fmt: skip
    flops = layout.accumulate * work.flops(micro, world)
    return Evaluated(
        layout, needed, step, cost, embeddings + strategy_traffic(moved, world, layout.per_node), embeddings,
        mfu=flops / step.total / gpu.bf16 if work.compute == 2 else flops / step.total / gpu.fp32,
        samples_s=micro * layout.accumulate * world / step.total,
        negatives=micro * world,
        host=host_bytes(layout, weights, work.master),
        fits=needed.total <= gpu.memory,
        same_training=not work.coupled or layout.accumulate == engine.accumulate,
    )  # fmt: skip


_ALIKE = 1.03
"""Ratio of costs that a plan cannot tell apart: then the simpler layout is the better one."""


def ranked(found: list[Evaluated]) -> list[Evaluated]:
    """By what to take first: those that fit and train as the recipe says, by GPU-hours."""
    return sorted(
        found, key=lambda one: (not one.fits, not one.same_training, one.cost.gpu_hours, _plainness(one))
    )


def chosen(found: list[Evaluated]) -> Evaluated | None:
    """The layout to take: it fits, trains as the recipe says and is the cheapest, or as good as and simpler.

    None if there is none.
    """
    usable = [one for one in ranked(found) if one.fits and one.same_training]
    if not usable:
        return None
    return min(
        (one for one in usable if one.cost.gpu_hours <= _ALIKE * usable[0].cost.gpu_hours), key=_plainness
    )


def _plainness(one: Evaluated) -> tuple[bool, bool, int]:
    layout = one.layout
    return (
        layout.offload,
        layout.checkpointing,
        ("ddp", "fsdp2", "zero1", "zero2", "zero3").index(layout.strategy),
    )


def evaluate_all(
    work: Workload, gpu: Gpu, world: int, per_node: int, assume: Assumptions, deepest: int = 64
) -> list[Evaluated]:
    """Every layout on `world` GPUs; empty where the global batch does not divide.

    Only AdamW steps parts of weights: other optimisers go with ddp alone, as the engine has it.
    """
    engine = work.recipe.engine
    layouts = candidates(engine.global_batch, engine.accumulate, world, per_node, deepest)
    whole = engine.optimizer.kind != "adamw"
    return [
        evaluate(layout, work, gpu, assume) for layout in layouts if not whole or layout.strategy == "ddp"
    ]
