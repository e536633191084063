"""A plan as tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from rich import box
from rich.console import Console
from rich.table import Table

from mien.plan.assume import GiB
from mien.plan.layouts import Evaluated
from mien.plan.report import Plan
from mien.plan.scaling import Rung, breaking

PARTS = {
    "weights": "weights",
    "copies": "copies",
    "gradients": "grads",
    "optimizer": "optim",
    "ema": "EMA",
    "activations": "activ",
    "objective": "loss",
    "temporary": "temp",
    "buckets": "bucket",
    "batch": "batch",
    "context": "context",
}
"""Names of the fields of `Memory` in tables and pictures."""


def show(plan: Plan, console: Console | None = None) -> None:
    """Print everything."""
    console = console or Console(width=140)
    console.print(summary(plan))
    console.print(memory_table(plan))
    console.print(layout_table(plan.layouts, plan.best))
    console.print(scaling_table(plan))


def _table(title: str, left: Iterable[str], right: Iterable[str], caption: str = "") -> Table:
    table = Table(
        title=title,
        title_justify="left",
        caption=caption or None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for head in left:
        table.add_column(head, no_wrap=True)
    for head in right:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def summary(plan: Plan) -> Table:
    """What it is, and the choice."""
    engine, weights, best = plan.recipe.engine, plan.work.weights, plan.best
    title = f"{plan.recipe.name} on {plan.nodes} x {plan.per_node} {plan.gpu.name}"
    table = _table(title, ("what", "value"), ())
    row = lambda name, value: table.add_row(name, value)  # noqa: E731
    row("parameters", f"{weights.parameters / 1e6:.1f} M, {weights.trained / 1e6:.1f} M trained")
    flops = plan.work.flops(1, 1)
    row("a sample", f"{flops / 1e9:.0f} GFLOP forward and backward, every sentence of full length")
    row("a run", f"{engine.max_steps} steps of {engine.global_batch} samples, precision {engine.precision}")
    if best is None:
        row("layout", "none fits")
        return table
    step, cost = best.step, best.cost
    row("layout to take", _describe(best))
    row("memory", f"{best.memory.total / GiB:.1f} of {plan.gpu.memory / GiB:.1f} GiB")
    row("wire, a GPU and step", _wire(best))
    row("step", f"{step.total * 1e3:.1f} ms: " + ", ".join(_times(asdict(step))))
    share = best.mfu / plan.assume.efficiency
    row(
        "speed", f"{best.samples_s:,.0f} samples/s, MFU {best.mfu:.2f}: products take {share:.0%} of the step"
    )
    read = best.samples_s * plan.assume.sample_bytes / 1e6
    row("reading", f"{read:,.1f} MB/s of shards, {read / plan.nodes:,.1f} a node")
    row("time to finish", f"{_hours(cost.hours)}, {cost.gpu_hours:.1f} GPU-hours, goodput {cost.goodput:.4f}")
    row(
        "a checkpoint",
        f"holds up {cost.checkpoint_s:.2f} s every {cost.interval_s:.0f} s, {cost.write_s:.1f} s to disk",
    )
    row("failures", f"{cost.failures:.3f} expected")
    if plan.cheapest is not None and plan.cheapest.layout.world != plan.world:
        other = plan.cheapest
        row(
            "cheapest",
            f"{other.layout.world} GPUs: {_describe(other)}; {_hours(other.cost.hours)}, "
            f"{other.cost.gpu_hours:.1f} GPU-hours",
        )
    return table


def _describe(one: Evaluated) -> str:
    layout = one.layout
    return (
        f"{layout.name}, micro batch {layout.micro}, activations {_kept(one)}, accumulate {layout.accumulate}"
    )


def _kept(one: Evaluated) -> str:
    return "recomputed" if one.layout.checkpointing else "kept"


def _times(parts: dict[str, float]) -> list[str]:
    return [f"{name} {value * 1e3:.1f}" for name, value in parts.items() if value >= 5e-5]


def _wire(one: Evaluated) -> str:
    node, network = one.traffic.node / 1e9, one.traffic.network / 1e9
    own = one.gathered.total / 1e6
    return f"{node:.2f} GB inside the node, {network:.2f} GB between nodes; of it embeddings {own:.1f} MB"


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.1f} min"


def memory_table(plan: Plan) -> Table:
    """Memory by part, of each strategy at the largest micro batch, activations kept and recomputed."""
    rows = by_strategy(plan)
    table = _table(
        f"GiB a GPU by part, micro batch {rows[0].layout.micro} (GPU: {plan.gpu.memory / GiB:.1f} GiB)",
        ("strategy", "activations"),
        (*PARTS.values(), "total", "fits"),
    )
    for one in rows:
        parts = asdict(one.memory)
        table.add_row(
            one.layout.name,
            _kept(one),
            *(f"{parts[name] / GiB:.2f}" for name in PARTS),
            f"{one.memory.total / GiB:.1f}",
            "yes" if one.fits else "no",
        )
    return table


def by_strategy(plan: Plan) -> list[Evaluated]:
    """Layouts that train as the recipe says, by strategy, then by what is kept."""
    same = [one for one in plan.layouts if one.same_training]
    micro = max(one.layout.micro for one in same)
    return sorted(
        (one for one in same if one.layout.micro == micro),
        key=lambda one: (one.layout.checkpointing, one.layout.offload, one.layout.strategy),
    )


def layout_table(found: Iterable[Evaluated], best: Evaluated | None, most: int = 16) -> Table:
    """Layouts, the cheapest first; `*` marks the one to take, `~` another training (fewer negatives)."""
    found = list(found)
    table = _table(
        f"layouts by GPU-hours, {min(most, len(found))} of {len(found)}",
        ("", "strategy", "activations"),
        (
            "micro",
            "accumulate",
            "GiB",
            "step ms",
            "exposed ms",
            "MFU",
            "samples/s",
            "time",
            "GPU-h",
            "fits",
        ),
        caption="* to take: the cheapest, or a simpler one within 3 %.  ~ another training: fewer negatives.",
    )
    for one in found[:most]:
        layout = one.layout
        mark = "*" if one is best else ("" if one.same_training else "~")
        table.add_row(
            mark, layout.name, _kept(one), str(layout.micro), str(layout.accumulate),
            f"{one.memory.total / GiB:.1f}", f"{one.step.total * 1e3:.1f}",
            f"{one.step.exposed * 1e3:.1f}", f"{one.mfu:.2f}", f"{one.samples_s:,.0f}",
            _hours(one.cost.hours), f"{one.cost.gpu_hours:.2f}", "yes" if one.fits else "no",
        )  # fmt: skip
    return table


def scaling_table(plan: Plan) -> Table:
    """The best layout on 1 to 4,096 GPUs, and what stops it first."""
    heads = (
        "GPUs",
        "batch",
        "micro",
        "GiB",
        "step ms",
        "samples/s",
        "each",
        "MFU",
        "time",
        "GPU-h",
        "goodput",
    )
    table = _table(
        f"{plan.recipe.name} on more {plan.gpu.name}",
        ("layout",),
        heads,
        caption="each: samples/s of a GPU against the first row. breaks first: loads; 1 is as much time as\n"
        "the networks' products take at the attainable peak, or all of a supply. +: raised, to divide.",
    )
    table.add_column("breaks first")
    for rung in plan.rungs:
        table.add_row(*_rung(rung))
    return table


def _rung(rung: Rung) -> list[str]:
    batch = f"{rung.global_batch}{'+' if rung.raised else ''}"
    best = rung.best
    if best is None:
        return ["none fits", str(rung.world), batch, *[""] * 9, "memory"]
    layout, cost = best.layout, best.cost
    return [
        layout.name + (", recomputed" if layout.checkpointing else ""), str(rung.world), batch,
        str(layout.micro), f"{best.memory.total / GiB:.1f}", f"{best.step.total * 1e3:.1f}",
        f"{best.samples_s:,.0f}", f"{rung.efficiency:.2f}", f"{best.mfu:.2f}", _hours(cost.hours),
        f"{cost.gpu_hours:.1f}", f"{cost.goodput:.3f}", _breaks(rung),
    ]  # fmt: skip


def _breaks(rung: Rung) -> str:
    """The limits that are reached, at most three; else the nearest one."""
    reached = breaking(rung)
    named = lambda limit: f"{limit.name} {limit.load:.2g}"  # noqa: E731
    if reached:
        return ", ".join(named(limit) for limit in reached[:3])
    return f"none; nearest {named(rung.limits[0])}"
