"""`make bench-plan`: plans against measurements on this CPU, and the table of ViT-L/14."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from mien import recipe as recipes
from mien.plan.assume import Assumptions
from mien.plan.count import Model
from mien.plan.curve import KNOTS, between
from mien.plan.gpus import gpu_of
from mien.plan.measure import measured, planned
from mien.plan.report import make
from mien.plan.show import show

CASES = (
    ("emocapclip/tiny", (), 16, False),
    ("emocapclip/tiny", (), 16, True),
    ("emocapclip/base", ("engine.precision=32",), 8, False),
    ("emocapclip/base", ("engine.precision=32",), 8, True),
    ("emocapclip/base", (), 8, False),
    ("emocapclip/base", (), 8, True),
)
"""Recipe, overrides, micro batch, whether activations are recomputed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m mien.plan.bench", description=__doc__)
    parser.add_argument("--recipe", default="emocapclip/vitl14", help="the recipe of the plan")
    parser.add_argument("--gpu", default="h100")
    options = parser.parse_args(arguments)
    console = Console(width=200)
    console.print(compared())
    console.print(drawn_out(options.recipe))
    recipe = recipes.load(options.recipe)
    show(make(recipe, gpu_of(options.gpu), 1, 8, Assumptions()), console)


def compared() -> Table:
    """Plan and measurement: tensors alone, and all that the allocator gave to 1 and 2 threads."""
    table = Table(title="plan / measured on this CPU", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("recipe", no_wrap=True)
    heads = ("precision", "micro", "activations", "GFLOP", "", "held MB", "", "peak MB: tensors", "")
    for head in (*heads, "1 thread", "", "2 threads", ""):
        table.add_column(head, justify="right", no_wrap=True)
    for name, overrides, micro, checkpointing in CASES:
        recipe = recipes.load(name, overrides)
        plan = planned(recipe, micro, checkpointing)
        one, two = (measured(recipe, micro, checkpointing, threads) for threads in (1, 2))
        kept = "recomputed" if checkpointing else "kept"
        cells = _pair(plan.flops, one.flops, 1e9) + _pair(plan.held, one.held, 1e6)
        cells += _pair(plan.tensors, one.tensors, 1e6)
        for real in (one, two):
            cells += [f"{real.peak / 1e6:,.1f}", f"{plan.peak / real.peak - 1:+.1%}"]
        table.add_row(name, recipe.engine.precision, str(micro), kept, *cells)
    return table


def _pair(plan: float, real: float, unit: float) -> list[str]:
    return [f"{plan / unit:,.1f} / {real / unit:,.1f}", f"{plan / real - 1:+.2%}"]


def drawn_out(name: str, micro: int = 512) -> Table:
    """Lines through the counted micro batches against a count of a larger one."""
    table = Table(
        title=f"{name}, micro batch {micro}: line through {KNOTS} / counted", title_justify="left",
        box=box.SIMPLE_HEAD,
    )  # fmt: skip
    for head in ("activations", "TFLOP", "", "held GB", "", "peak GB", ""):
        table.add_column(head, justify="right")
    recipe = recipes.load(name)
    for checkpointing in (False, True):
        model = Model(recipe, checkpointing)
        halves = {knot: model.encode(knot) for knot in KNOTS}
        direct = model.encode(micro)
        cells = []
        for part, unit in (("flops", 1e12), ("held", 1e9), ("backward_peak", 1e9)):
            line = between({m: getattr(half, part) for m, half in halves.items()}, micro)
            cells += _pair(line, getattr(direct, part), unit)
        table.add_row("recomputed" if checkpointing else "kept", *cells)
    return table


if __name__ == "__main__":
    main()
