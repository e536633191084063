"""Tables and pictures of measured edits: rows of methods over seeds, units, and what else moves."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mien.evaluation.edits import Scores
from mien.evaluation.figures import STYLE
from mien.systems.editing.pair_rules import UNITS

STILL = "no edit"
"""Name of the row that all others are compared with."""

Measure = Callable[[Scores, Scores], float]

COLUMNS: dict[str, Measure] = {
    "AU error": lambda row, still: float(row.error.mean()),
    "of no edit": lambda row, still: float((row.error / still.error).mean()),
    "units <= 0.5": lambda row, still: float((row.error / still.error <= 0.5).sum()),
    "correlation": lambda row, still: float(row.correlation.mean()),
    "others move": lambda row, still: float(np.abs(_others(row.leakage)).mean()),
    "AU (MSE)": lambda row, still: row.square,
    "ID": lambda row, still: float(row.identity.mean()),
    "background": lambda row, still: float(row.background.mean()),
    "pose": lambda row, still: float(row.pose.mean()),
    "picture": lambda row, still: float(row.picture.mean()),
}
"""Titles and what they measure of (a method, no edit). Errors in FACS levels; `of no edit` is the mean over
units of each one's own quotient; pose in degrees; background and picture RMSE of values 0..1."""


def table(rows: Mapping[str, Sequence[Scores]]) -> str:
    """Markdown: a row a method, mean and deviation over its seeds; `STILL` is among them."""
    still = rows[STILL][0]
    lines = [line("method", "seeds", *COLUMNS), line("---", *["---:"] * (1 + len(COLUMNS)))]
    for name, scores in rows.items():
        cells = [spread([measure(one, still) for one in scores]) for measure in COLUMNS.values()]
        lines.append(line(name, str(len(scores)), *cells))
    return "\n".join(lines) + "\n"


def unit_table(rows: Mapping[str, Sequence[Scores]]) -> str:
    """Markdown: of each unit the error as a share of that of no edit, and the correlation: means of seeds."""
    still = rows[STILL][0]
    lines = [line("method", *(f"AU{unit}" for unit in UNITS)), line("---", *["---:"] * len(UNITS))]
    for name, scores in rows.items():
        if name == STILL:
            continue
        shares = np.mean([one.error / still.error for one in scores], axis=0)
        correlations = np.mean([one.correlation for one in scores], axis=0)
        cells = [f"{share:.2f} / {r:.2f}" for share, r in zip(shares, correlations, strict=True)]
        lines.append(line(name, *cells))
    return "\n".join(lines) + "\n"


def write_csv(rows: Mapping[str, Sequence[Scores]], file: Path) -> None:
    """One line a method, seed and column of `COLUMNS`."""
    still = rows[STILL][0]
    write_values(
        {
            name: [{title: measure(one, still) for title, measure in COLUMNS.items()} for one in scores]
            for name, scores in rows.items()
        },
        file,
    )


def write_values(rows: Mapping[str, Sequence[Mapping[str, float]]], file: Path) -> None:
    """CSV of the values of each method and seed: method, seed, measure, value."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(("method", "seed", "measure", "value"))
        for name, seeds in rows.items():
            for seed, values in enumerate(seeds):
                writer.writerows((name, seed, title, f"{value:.6g}") for title, value in values.items())


def leakage_picture(leakage: NDArray[np.floating]) -> bytes:
    """PNG of [12, 12]: how many levels each unit (column) moves for one level asked of another (row)."""
    names = [f"AU{unit}" for unit in UNITS]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 5.6), layout="constrained")
        axes = figure.add_subplot()
        shown = axes.imshow(leakage, cmap="RdBu_r", vmin=-1, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=60)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("measured")
        axes.set_ylabel("asked for")
        for (row, column), value in np.ndenumerate(leakage):
            colour = "white" if abs(value) > 0.6 else "black"
            axes.text(column, row, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=7)
        figure.colorbar(shown, label="levels a level")
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def _others(leakage: NDArray[np.floating]) -> NDArray[np.floating]:
    return leakage[~np.eye(len(leakage), dtype=bool)]


def line(*cells: str) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float]) -> str:
    """Mean and deviation of several numbers; an empty cell where there are none."""
    if np.isnan(values).any():
        return ""
    mean = f"{np.mean(values):.3g}"
    return mean if len(values) == 1 else f"{mean} +- {np.std(values, ddof=1):.2g}"
