"""A whole plan as plain data, and what to do where nothing fits."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mien.errors import MienError
from mien.plan.assume import Assumptions, GiB
from mien.plan.gpus import GPUS, Gpu
from mien.plan.layouts import Evaluated, chosen, evaluate_all, ranked
from mien.plan.scaling import WORLDS, Rung, ladder, whole_nodes
from mien.plan.workload import Workload, count
from mien.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """What `mien plan` says."""

    recipe: Recipe
    gpu: Gpu
    nodes: int
    per_node: int
    assume: Assumptions
    work: Workload
    layouts: tuple[Evaluated, ...]
    """On all GPUs, the best first."""
    best: Evaluated | None
    """The one to take on all GPUs."""
    cheapest: Evaluated | None
    """Fewest GPU-hours on any part of the GPUs."""
    rungs: tuple[Rung, ...]

    @property
    def world(self) -> int:
        """All GPUs."""
        return self.nodes * self.per_node


def make(recipe: Recipe, gpu: Gpu, nodes: int, per_node: int, assume: Assumptions) -> Plan:
    """Plan a recipe on `nodes` nodes.

    Raises:
        MienError: for a number of GPUs that the global batch does not divide by.
        RunError: for a system that cannot be planned.
    """
    engine, world = recipe.engine, nodes * per_node
    if engine.global_batch % (world * engine.accumulate):
        what = (
            f"{engine.global_batch} samples do not divide by {world} GPUs x {engine.accumulate} micro batches"
        )
        fix = f"use a multiple of {world * engine.accumulate}, or other --nodes and --gpus-per-node"
        raise MienError(what, where="engine.global_batch", fix=fix)
    work = count(recipe, engine.global_batch // engine.accumulate)
    found = evaluate_all(work, gpu, world, per_node, assume)
    best = chosen(found)
    parts = [n for n in _powers(world) if n != world and (n <= per_node or n % per_node == 0)]
    smaller = [chosen(evaluate_all(work, gpu, part, per_node, assume, deepest=1)) for part in parts]
    usable = [one for one in (best, *smaller) if one is not None]
    cheapest = min(usable, key=lambda one: one.cost.gpu_hours, default=None)
    rungs = ladder(work, gpu, per_node, assume, whole_nodes((*WORLDS, world), per_node))
    return Plan(
        recipe, gpu, nodes, per_node, assume, work, tuple(ranked(found)), best, cheapest, tuple(rungs)
    )


def _powers(highest: int) -> list[int]:
    return [1 << power for power in range(highest.bit_length()) if 1 << power <= highest]


def does_not_fit(plan: Plan) -> MienError:
    """What is missing where no layout fits, and what would mend it."""
    same = [one for one in plan.layouts if one.same_training]
    least = min(same, key=lambda one: one.memory.total)
    short = least.memory.total - plan.gpu.memory
    kept = "recomputed" if least.layout.checkpointing else "kept"
    what = (
        f"no layout fits on {plan.world} x {plan.gpu.name}: {least.layout.name}, "
        f"micro batch {least.layout.micro}, activations {kept}, needs "
        f"{least.memory.total / GiB:.1f} GiB, {short / GiB:.1f} GiB too many"
    )
    return MienError(what, where="memory", fix="; ".join(_ways_out(plan, least)))


def _ways_out(plan: Plan, least: Evaluated) -> list[str]:
    ways = []
    if others := [gpu for gpu in GPUS.values() if gpu.memory >= least.memory.total]:
        ways.append(f"--gpu {min(others, key=lambda gpu: gpu.memory).name} would hold it")
    samples = plan.recipe.engine.global_batch // plan.recipe.engine.accumulate
    world = plan.world
    while samples % (2 * world) == 0:
        world *= 2
        nodes = -(-world // plan.per_node)
        if chosen(evaluate_all(plan.work, plan.gpu, world, plan.per_node, plan.assume, deepest=1)):
            ways.append(f"--nodes {nodes} would hold it")
            break
    fewer = [one for one in plan.layouts if one.fits]
    if fewer:
        deepest = min(one.layout.accumulate for one in fewer)
        negatives = max(one.negatives for one in fewer)
        ways.append(f"engine.accumulate={deepest} would fit, comparing each sample with {negatives} only")
    return ways or ["a smaller model or image, or a GPU with more memory"]


def to_json(plan: Plan) -> dict[str, Any]:
    """The plan as JSON types: bytes, seconds, hours, shares."""
    return {
        "recipe": plan.recipe.name,
        "hash": plan.recipe.hash,
        "gpu": asdict(plan.gpu),
        "nodes": plan.nodes,
        "gpus_per_node": plan.per_node,
        "assumptions": asdict(plan.assume),
        "weights": asdict(plan.work.weights),
        "best": None if plan.best is None else _row(plan.best),
        "cheapest": None if plan.cheapest is None else _row(plan.cheapest),
        "layouts": [_row(one) for one in plan.layouts],
        "scaling": [
            {
                "gpus": rung.world,
                "global_batch": rung.global_batch,
                "efficiency": rung.efficiency,
                "limits": {limit.name: limit.load for limit in rung.limits},
                "best": None if rung.best is None else _row(rung.best),
            }
            for rung in plan.rungs
        ],
    }


def write_json(plan: Plan, file: Path) -> None:
    """Write `to_json`."""
    file.write_text(json.dumps(to_json(plan), indent=1) + "\n", encoding="utf-8")


def _row(one: Evaluated) -> dict[str, Any]:
    return {
        **asdict(one),
        "memory": {**asdict(one.memory), "total": one.memory.total},
        "step": {**asdict(one.step), "total": one.step.total},
    }
