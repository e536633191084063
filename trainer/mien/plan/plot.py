"""A picture of memory by part."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from mien.plan.assume import GiB
from mien.plan.report import Plan
from mien.plan.show import PARTS, by_strategy


def plot(plan: Plan, file: Path) -> None:
    """Stacked bars of memory by part: one bar a strategy, once with activations kept and once recomputed.

    Args:
        plan: what to draw.
        file: picture to write; its suffix says the format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = by_strategy(plan)
    figure = Figure(figsize=(9, 1.6 + 0.34 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = [f"{row.layout.name}, {'recomputed' if row.layout.checkpointing else 'kept'}" for row in rows]
    left = [0.0] * len(rows)
    colours = _colours()
    for name, label in PARTS.items():
        values = [asdict(row.memory)[name] / GiB for row in rows]
        if max(values) < 0.005:
            continue
        axes.barh(names, values, left=left, label=label, color=colours[name], height=0.75)
        left = [start + value for start, value in zip(left, values, strict=True)]
    axes.axvline(plan.gpu.memory / GiB, color="black", linewidth=1, linestyle="--")
    axes.text(plan.gpu.memory / GiB, -0.75, f" {plan.gpu.name}", ha="left", va="center", fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -1.2)
    axes.set_xlabel("GiB on each GPU")
    axes.set_xlim(0, 1.12 * max(*left, plan.gpu.memory / GiB))
    axes.set_title(
        f"{plan.recipe.name}: {plan.world} GPUs, micro batch {rows[0].layout.micro}",
        loc="left",
        fontsize=10,
        pad=14,
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.savefig(file, dpi=120)


def _colours() -> dict[str, str]:
    """A palette that the colour-blind can tell apart (Okabe and Ito), with greys for what is small."""
    palette = (
        "#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#CC79A7", "#009E73", "#F0E442", "#8C6BB1", "#BBBBBB",
        "#777777", "#444444",
    )  # fmt: skip
    return dict(zip(PARTS, palette, strict=True))
