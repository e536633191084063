"""A recipe on more and more GPUs, and what stops it."""

from __future__ import annotations

from dataclasses import dataclass

from mien.plan.assume import Assumptions
from mien.plan.gpus import Gpu
from mien.plan.layouts import Evaluated, chosen, evaluate_all
from mien.plan.workload import Workload

WORLDS = (1, 8, 64, 512, 4096)
"""GPUs of the table of scaling."""


@dataclass(frozen=True)
class Limit:
    """A resource and how far it is used up: 1 is where it takes as long as the networks, or is all used."""

    name: str
    load: float


@dataclass(frozen=True)
class Rung:
    """One number of GPUs."""

    world: int
    global_batch: int
    """The recipe's, or the next that divides by the GPUs."""
    best: Evaluated | None
    """None: nothing fits."""
    efficiency: float
    """Samples/s a GPU against those of the first rung that fits."""
    limits: tuple[Limit, ...]
    """The highest load first."""
    raised: bool = False
    """Whether `global_batch` had to be raised."""


def ladder(
    work: Workload,
    gpu: Gpu,
    per_node: int,
    assume: Assumptions,
    worlds: tuple[int, ...] = WORLDS,
    deepest: int = 1,
) -> list[Rung]:
    """The best layout on each number of GPUs, and its limits.

    Args:
        work: the recipe.
        gpu: kind of GPU.
        per_node: of a node.
        assume: rates.
        worlds: numbers of GPUs.
        deepest: see `candidates`.
    """
    rungs: list[Rung] = []
    first = 0.0
    for world in worlds:
        wanted = work.recipe.engine.global_batch
        batch = _divisible(work, world)
        best = chosen(evaluate_all(work.with_batch(batch), gpu, world, per_node, assume, deepest))
        if best is None:
            rungs.append(Rung(world, batch, None, 0.0, (), batch != wanted))
            continue
        each = best.samples_s / world
        first = first or each
        found = limits(best, work, gpu, assume, wanted)
        rungs.append(Rung(world, batch, best, each / first, tuple(found), batch != wanted))
    return rungs


def whole_nodes(worlds: tuple[int, ...], per_node: int) -> tuple[int, ...]:
    """Numbers of GPUs, each a part of a node or whole nodes; what is neither is rounded to whole nodes."""
    rounded = {world if world <= per_node else per_node * round(world / per_node) for world in worlds}
    return tuple(sorted(rounded))


def _divisible(work: Workload, world: int) -> int:
    """The next batch that gives each GPU and micro batch a whole number of samples, at least one."""
    share = world * work.recipe.engine.accumulate
    return share * max(1, -(-work.recipe.engine.global_batch // share))


def limits(best: Evaluated, work: Workload, gpu: Gpu, assume: Assumptions, wanted: int) -> list[Limit]:
    """How far each resource is used up.

    Each load is a ratio to the time that the networks need at the attainable peak, except where a supply is
    known: the loader's samples/s, the time between two checkpoints, the time between two failures.

    Args:
        best: the layout.
        work: the recipe.
        gpu: kind of GPU.
        assume: rates.
        wanted: the recipe's global batch.
    """
    layout, step, cost = best.layout, best.step, best.cost
    rounds, micro, world = layout.accumulate, layout.micro, layout.world
    own = work.flops(micro, world, layout.checkpointing) - work.objective(micro, world).flops
    peak = gpu.bf16 if work.compute == 2 else gpu.fp32
    ideal = rounds * own / (peak * assume.efficiency)
    started = rounds * work.launches(micro, world, layout.checkpointing) * assume.launch_s
    supply = max(1, work.recipe.data.workers) * world * assume.loader
    wanted_s = rounds * micro * world / (step.total - step.data)  # samples/s if none were waited for
    found = [
        Limit("network", (step.gradients + step.weights + step.features) / ideal),
        Limit("loss", step.objective / ideal),
        Limit("kernel launches", started / ideal),
        Limit("loader", wanted_s / supply),
        Limit("checkpoint writes", cost.write_s / cost.interval_s),
        Limit("failures", cost.lost / (1 - cost.lost)),
        Limit("memory", best.memory.total / gpu.memory),
    ]
    found = sorted(found, key=lambda limit: -limit.load)
    scarce = Limit("samples a GPU", world * work.recipe.engine.accumulate / wanted)
    return [scarce, *found] if scarce.load > 1 else sorted([scarce, *found], key=lambda limit: -limit.load)


def breaking(rung: Rung) -> tuple[Limit, ...]:
    """Limits that are reached, the worst first; memory counts only where nothing fits."""
    return tuple(limit for limit in rung.limits if limit.load >= 1 and limit.name != "memory")
