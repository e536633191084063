"""Pictures of a report, as PNG bytes: confusion, reliability, curves, faces, patch heat-maps."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mien.evaluation.faceset import FaceSet
from mien.evaluation.metrics import confusion_counts, reliability_counts
from mien.evaluation.report import Predictions
from mien.systems.encoder import Encoder

INK, RIGHT, WRONG, BLUE = "#222831", "#1b8a5a", "#c0392b", "#2f6db3"
CURVES = ("loss", "val/loss", "lr", "samples_per_s")
"""Columns of metrics.csv that are drawn first, when they exist."""

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#b8bec7",
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 110,
}


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def confusion(made: Predictions) -> bytes:
    """Rows are the true classes, shaded by recall; each cell has its share and its count."""
    size = len(made.classes)
    counts = confusion_counts(made.labels, made.found, size).sum(0).reshape(size, size)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    with mpl.rc_context(STYLE):
        side = 1.9 + 0.68 * size
        figure = Figure(figsize=(side + 0.4, side), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(size, size):
            if counts[row, column]:
                text = f"{100 * share[row, column]:.0f}%\n{counts[row, column]:.0f}"
                ink = "white" if share[row, column] > 0.55 else INK
                axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)
        axes.set_xticks(range(size), made.classes, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(size), made.classes)
        axes.set(xlabel="predicted", ylabel="true")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        return _png(figure)


def reliability(made: Predictions, bins: int = 15) -> bytes:
    """Accuracy over confidence in equal bins, and how many samples each bin has."""
    counts = reliability_counts(made.scores.max(1), made.found == made.labels, bins).sum(0)
    member, confidence, correct = np.split(counts, 3)
    filled = member > 0
    middle = (np.arange(bins) + 0.5) / bins
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 4.8), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        upper.plot([0, 1], [0, 1], color="#9aa3ad", lw=1, ls="--", label="perfect")
        upper.bar(middle[filled], (correct / np.maximum(member, 1))[filled], 0.92 / bins, color="#9dc3e6")
        upper.plot(
            confidence[filled] / member[filled], correct[filled] / member[filled], "o-", ms=4, lw=1,
            color=BLUE, label="this run",
        )  # fmt: skip
        upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        upper.legend(frameon=False, loc="upper left")
        lower.bar(middle, member, 0.92 / bins, color="#c9d1da")
        lower.set(xlabel="confidence", ylabel="samples")
        return _png(figure)


def curves(path: Path, most: int = 8) -> bytes | None:
    """Columns of metrics.csv over the step; None when there is nothing to draw."""
    series = _read_curves(path) if path.is_file() else {}
    first = [name for name in CURVES if name in series]
    names = (first + [name for name in series if name not in first])[:most]
    if not names:
        return None
    columns = min(len(names), 4)
    with mpl.rc_context(STYLE):
        rows = math.ceil(len(names) / columns)
        figure = Figure(figsize=(3.1 * columns, 2.2 * rows), layout="constrained")
        for axes, name in zip(figure.subplots(rows, columns, squeeze=False).flat, names):
            steps, values = series[name]
            axes.plot(steps, values, color="#b7d0ea" if len(steps) > 60 else BLUE, lw=1.2)
            if len(steps) > 60:
                axes.plot(steps, _smooth(values), color=BLUE, lw=1.4)
            axes.set_title(name, fontsize=9)
            axes.set_xlabel("step", fontsize=8)
        for axes in figure.axes[len(names) :]:
            axes.set_visible(False)
        return _png(figure)


def _read_curves(path: Path) -> dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Numeric columns of a csv that has a `step` column and change at least once; empty cells are skipped."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for name in (rows[0] if rows else {}).keys() - {"step", "epoch", "time", "wall"}:
        points = [(_number(row.get("step")), _number(row.get(name))) for row in rows]
        whole = np.array([point for point in points if np.isfinite(point).all()])
        if len(whole) > 1 and np.ptp(whole[:, 1]) > 0:
            found[name] = (whole[:, 0], whole[:, 1])
    return dict(sorted(found.items()))


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _smooth(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    width = max(3, len(values) // 30) | 1
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def face_sheet(
    made: Predictions, test: FaceSet, right: bool, columns: int = 8, rows: int = 2
) -> bytes | None:
    """The most confident right (or wrong) faces, the true classes taking turns; None if there are none."""
    chosen = _take_turns(
        made, made.found == made.labels if right else made.found != made.labels, columns * rows
    )
    if not chosen:
        return None
    with mpl.rc_context(STYLE):
        rows = math.ceil(len(chosen) / columns)
        figure = Figure(figsize=(1.3 * columns, 1.72 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, i in zip(grid.flat, chosen):
            axes.imshow(test.image(i).permute(1, 2, 0).numpy())
            label, found = made.classes[made.labels[i]], made.classes[made.found[i]]
            words = label if right else f"{found}\nis {label}"
            title = f"{words} {100 * made.scores[i].max():.0f}%"
            axes.set_title(title, fontsize=7.5, color=RIGHT if right else WRONG)
        return _png(figure)


def _take_turns(made: Predictions, among: npt.NDArray[np.bool_], count: int) -> list[int]:
    """Positions of the most confident samples, one of each true class in turn."""
    queues = []
    for label in range(len(made.classes)):
        places = np.flatnonzero(among & (made.labels == label))
        queues.append(places[np.argsort(-made.scores[places].max(1), kind="stable")].tolist())
    turns = [place for turn in range(count) for queue in queues for place in queue[turn : turn + 1]]
    return turns[:count]


def patch_sheet(encoder: Encoder, test: FaceSet, faces: int = 4, sentences: int = 4) -> bytes | None:
    """Faces with the patch map of each local sentence laid over them; None without such sentences."""
    told = [i for i, record in enumerate(test.records) if record.get("locals")]
    chosen = _spread_over_labels(told, test.labels, faces)
    if not chosen:
        return None
    told_most = min(sentences, max(len(test.records[i]["locals"]) for i in chosen))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.15 * (told_most + 1), 2.75 * len(chosen)), layout="constrained")
        grid = figure.subplots(len(chosen), told_most + 1, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for row, i in zip(grid, chosen):
            image = test.image(i)
            texts = [local["text"] for local in test.records[i]["locals"]][:sentences]
            maps = encoder.patch_maps(image[None].expand(len(texts), -1, -1, -1), texts).float().cpu().numpy()
            picture = image.permute(1, 2, 0).numpy()
            row[0].imshow(picture)
            row[0].set_title(test.labels[i], fontsize=9, fontweight="bold")
            for axes, text, patches in zip(row[1:], texts, maps):
                _overlay(axes, picture, patches)
                axes.set_title(textwrap.fill(textwrap.shorten(text, 100), 30), fontsize=7)
        return _png(figure)


def _spread_over_labels(places: Sequence[int], labels: Sequence[str], count: int) -> list[int]:
    seen: dict[str, list[int]] = {}
    for place in places:
        seen.setdefault(labels[place], []).append(place)
    turns = [
        place
        for turn in range(count)
        for _, queue in sorted(seen.items())
        for place in queue[turn : turn + 1]
    ]
    step = max(1, min(len(seen), len(turns)) // count)
    return turns[::step][:count]


def _overlay(axes: Axes, picture: npt.NDArray[np.uint8], patches: npt.NDArray[np.float32]) -> None:
    """The map, stretched to its own range, over the grey picture."""
    height, width = picture.shape[:2]
    low, high = float(patches.min()), float(patches.max())
    scaled = (patches - low) / max(high - low, 1e-6)
    extent = (0.0, float(width), float(height), 0.0)
    axes.imshow(picture.mean(2), cmap="gray", extent=extent)
    axes.imshow(scaled, cmap="inferno", alpha=0.55, extent=extent, interpolation="bilinear", vmin=0, vmax=1)


def intervals(rows: Sequence[tuple[str, float, float, float, bool]], title: str) -> bytes:
    """Dots with intervals; each row is (method, value, low, high, whether it is the run's)."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.4, 0.7 + 0.33 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for place, (_, value, low, high, own) in enumerate(rows):
            color = BLUE if own else "#8d97a3"
            axes.plot([low, high], [place, place], color=color, lw=2.2, solid_capstyle="round")
            axes.plot(value, place, "o", color=color, ms=6)
            axes.annotate(
                f"{value:.3f}", (value, place), (0, 6), textcoords="offset points", ha="center", fontsize=7.5
            )
        axes.set_yticks(range(len(rows)), [row[0] for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.7)
        axes.set_xlabel(title)
        axes.grid(axis="x", color="#e4e8ed", lw=0.8)
        axes.set_axisbelow(True)
        return _png(figure)
