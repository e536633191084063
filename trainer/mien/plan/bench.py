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
from mien.plan.measure import Figures, measured, planned
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
    console = Console(width=140)
    console.print(compared())
    console.print(drawn_out(options.recipe))
    recipe = recipes.load(options.recipe)
    show(make(recipe, gpu_of(options.gpu), 1, 8, Assumptions()), console)


def compared() -> Table:
    """Plan and measurement of each case."""
    table = Table(title="plan / measured on this CPU", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("recipe")
    heads = ("precision", "micro", "activations", "GFLOP", "", "held MB", "", "peak MB", "")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for name, overrides, micro, checkpointing in CASES:
        recipe = recipes.load(name, overrides)
        plan, real = planned(recipe, micro, checkpointing), measured(recipe, micro, checkpointing)
        kept = "recomputed" if checkpointing else "kept"
        table.add_row(name, recipe.engine.precision, str(micro), kept, *_pairs(plan, real))
    return table


def _pairs(plan: Figures, real: Figures) -> list[str]:
    cells = []
    for one, other, unit in (
        (plan.flops, real.flops, 1e9), (plan.held, real.held, 1e6), (plan.peak, real.peak, 1e6),
    ):  # fmt: skip
        cells += [f"{one / unit:,.1f} / {other / unit:,.1f}", f"{one / other - 1:+.2%}"]
    return cells


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
            value = getattr(direct, part)
            cells += [f"{line / unit:,.2f} / {value / unit:,.2f}", f"{line / value - 1:+.2%}"]
        table.add_row("recomputed" if checkpointing else "kept", *cells)
    return table


if __name__ == "__main__":
    main()
