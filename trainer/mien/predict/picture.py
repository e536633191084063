"""One picture an input: what was given, where the model looks, what it reads, and how that runs over time."""

from __future__ import annotations

import io
import textwrap

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from mien.evaluation.figures import BLUE, INK, STYLE
from mien.predict.media import Box
from mien.predict.reader import PRESENT, Reading

GREY, PALE = "#8d97a3", "#d5dbe2"
LINES = (BLUE, "#c0392b", "#1b8a5a", "#b7791f")
"""Colours of the classes that a timeline names."""
STRIP = 8
"""Frames of a strip, at most."""
_LOOKS = {"patches": "cosine of patches {:.2f} to {:.2f}", "gradient": "|gradient x input| {:.1e} to {:.1e}"}


def draw(reading: Reading, box: Box | None = None) -> bytes:
    """A PNG: input, heat map of the predicted class, classes, action units, captions; of a video a timeline.

    Args:
        reading: what was read.
        box: the face that was cut out; None: the whole picture was taken as a face.
    """
    times = reading.media.times
    with mpl.rc_context(STYLE):
        heights = [4.2, 0.28 + 0.24 * len(reading.captions)] + ([] if times is None else [1.5, 2.6])
        figure = Figure(figsize=(13.2, sum(heights) + 0.6), layout="constrained")
        grid = GridSpec(len(heights), 1, figure, height_ratios=heights)
        top = grid[0].subgridspec(1, 4, width_ratios=[1.15, 1.15, 1, 1.25])
        _faces(figure.add_subplot(top[0]), figure.add_subplot(top[1]), reading, box)
        _classes(figure.add_subplot(top[2]), reading)
        _units(figure.add_subplot(top[3]), reading)
        _words(figure.add_subplot(grid[1]), reading)
        if times is not None:
            chosen = _spread(len(times), STRIP)
            strip = grid[2].subgridspec(1, len(chosen))
            for place, number in enumerate(chosen):
                _still(figure.add_subplot(strip[place]), reading, number, times[number])
            _timeline(figure.add_subplot(grid[3]), reading, times)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def _faces(left: Axes, right: Axes, reading: Reading, box: Box | None) -> None:
    """The input (of a video the frame that shows the class most), and the heat map over it."""
    picture = reading.media.shown[reading.frame]
    height, width = picture.shape[:2]
    name = textwrap.shorten(reading.media.path.name, 34, placeholder="...")
    times = reading.media.times
    moment = "" if times is None else f", {times[reading.frame]:.2f} s"
    taken = f"box {box.x},{box.y},{box.width},{box.height}" if box else "whole picture taken as the face"
    left.imshow(picture)
    left.set_title(f"{name}{moment}\n{taken}", fontsize=9)
    low, high = float(reading.heat.min()), float(reading.heat.max())
    extent = (0.0, float(width), float(height), 0.0)
    right.imshow(np.asarray(picture).mean(2), cmap="gray", extent=extent, vmin=0, vmax=255)
    scaled = (reading.heat - low) / max(high - low, 1e-9)
    right.imshow(scaled, cmap="inferno", alpha=0.5, extent=extent, interpolation="bilinear", vmin=0, vmax=1)
    scale = _LOOKS[reading.look].format(low, high)
    right.set_title(f"where it sees {reading.found}\n{scale}", fontsize=9)
    for axes in (left, right):
        axes.set_axis_off()


def _classes(axes: Axes, reading: Reading) -> None:
    order = np.argsort(reading.probabilities, kind="stable")
    values = reading.probabilities[order]
    names = [reading.classes[i] for i in order]
    colours = [BLUE if name == reading.found else PALE for name in names]
    axes.barh(range(len(names)), values, color=colours, height=0.72)
    for place, value in enumerate(values):
        inside = value > 0.75
        axes.annotate(
            f"{100 * value:.0f} %", (value, place), (-4 if inside else 4, 0), textcoords="offset points",
            va="center", ha="right" if inside else "left", fontsize=8, color="white" if inside else INK,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), names, fontsize=9 if len(names) < 12 else 7)
    axes.set(xlim=(0, 1), xticks=[0, 0.5, 1])
    axes.set_title("emotion, zero-shot: shares of 100 %", fontsize=9)
    axes.tick_params(axis="y", length=0)


def _units(axes: Axes, reading: Reading) -> None:
    numbers = list(reading.units)[::-1]
    values = [reading.units[number] for number in numbers]
    colours = [BLUE if value >= PRESENT else PALE for value in values]
    axes.barh(range(len(numbers)), values, color=colours, height=0.72)
    axes.axvline(PRESENT, color=GREY, lw=0.8, ls="--")
    axes.set_yticks(range(len(numbers)), [f"{reading.unit_names[n]}  AU{n}" for n in numbers], fontsize=7.5)
    axes.set(xlim=(0, 1), xticks=[0, 0.5, 1])
    axes.set_title("action units: each present against absent", fontsize=9)
    axes.tick_params(axis="y", length=0)


def _words(axes: Axes, reading: Reading) -> None:
    """Nearest captions with their cosines, and what a reader must know."""
    axes.set_axis_off()
    lines = [f"{cosine:.2f}  {textwrap.shorten(text, 150)}" for text, cosine in reading.captions]
    if lines:
        lines.insert(0, "nearest captions, by cosine")
    lines.append("A reading of a face is not the truth about a person.")
    for place, line in enumerate(lines):
        edge = place in (0, len(lines) - 1)
        axes.text(
            0.01, 1 - (place + 0.5) / len(lines), line, transform=axes.transAxes, va="center", fontsize=8.5,
            color=GREY if edge else INK,
        )  # fmt: skip


def _spread(count: int, most: int) -> list[int]:
    kept = min(count, most)
    return [int((number + 0.5) * count / kept) for number in range(kept)]


def _still(axes: Axes, reading: Reading, number: int, time: float) -> None:
    best = int(reading.timeline[number].argmax())
    axes.imshow(reading.media.shown[number])
    axes.set_axis_off()
    share = 100 * reading.timeline[number][best]
    axes.set_title(f"{time:.1f} s\n{reading.classes[best]} {share:.0f} %", fontsize=7.5)


def _timeline(axes: Axes, reading: Reading, times: list[float]) -> None:
    """Probability of every class over time; the four that rise highest are named at their last point."""
    named = np.argsort(-reading.timeline.max(0), kind="stable")[: len(LINES)]
    for place in range(len(reading.classes)):
        if place not in named:
            axes.plot(times, reading.timeline[:, place], color=PALE, lw=1)
    for colour, place in zip(LINES, named):
        axes.plot(
            times, reading.timeline[:, place], "o-", color=colour, lw=1.6, ms=3, label=reading.classes[place]
        )
    axes.axvline(times[reading.frame], color=GREY, lw=0.8, ls="--")
    axes.set(xlabel="seconds", ylabel="probability", ylim=(0, 1.02))
    axes.set_title("each frame by itself; dashed: the frame above", fontsize=9, loc="left")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
