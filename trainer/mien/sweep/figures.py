"""Pictures of a sweep as SVG: parallel coordinates, history, curves, importance. A hover names the trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from mien.sweep.config import Dimension, SweepConfig
from mien.sweep.status import Row, short, shown

BEST, WORST, OFF = (11, 61, 145), (196, 213, 233), "#c3c8ce"
WIDTH = 1030
_Scale = Callable[[float], float]


def parallel(rows: Sequence[Row], config: SweepConfig, tops: Sequence[int]) -> str:
    """A line a trial through an axis a parameter; the last axis is the metric, the better end on top.

    Args:
        rows: trials; those without a value are left out.
        config: the sweep.
        tops: numbers of the trials that stand out.
    """
    drawn = [row for row in rows if row.value is not None and row.state in ("finished", "pruned")]
    if not drawn:
        return ""
    top, bottom, height = 46.0, 292.0, 306
    keys = list(config.space)
    places = _spread(len(keys) + 1, 90.0, WIDTH - 80.0)
    axes = [_Axis(config.space[key], [row.params.get(key) for row in drawn], top, bottom) for key in keys]
    values = [row.value for row in drawn if row.value is not None]
    metric = _metric_scale(values, config, top, bottom)
    parts = []
    for x, name, ticks in zip(
        places, [*map(short, keys), config.metric], [*(axis.ticks() for axis in axes), _ticks(values, metric)]
    ):
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(_text(x, top - 22, name, "middle", "name"))
        side, anchor = (7, "start") if x == places[-1] else (-7, "end")  # no line passes beyond the last axis
        parts += [_text(x + side, y + 4, label, anchor, "tick") for label, y in ticks]
    colour = _colours(drawn, config)
    for row in sorted(drawn, key=lambda row: (row.state == "finished", *_order(row, config))):
        ys = [axis.place(row.params.get(key)) for key, axis in zip(keys, axes)] + [
            metric(float(row.value or 0))
        ]
        path = " ".join(f"{'ML'[i > 0]}{x:.1f},{y:.1f}" for i, (x, y) in enumerate(zip(places, ys)))
        kind = "line off" if row.state == "pruned" else "line best" if row.number in tops else "line"
        stroke = OFF if row.state == "pruned" else colour[row.number]
        parts.append(f'<path class="{kind}" d="{path}" stroke="{stroke}">{_title(row, config)}</path>')
    return _svg(height, parts)


def history(rows: Sequence[Row], config: SweepConfig) -> str:
    """The metric of each trial in order, and the best so far."""
    done = [row for row in rows if row.value is not None and row.state == "finished"]
    if not done:
        return ""
    every = [row for row in rows if row.value is not None and row.state in ("finished", "pruned")]
    top, bottom, left, right = 16.0, 210.0, 70.0, WIDTH / 2 - 30
    x = _linear(0, max(config.total - 1, 1), left, right)
    values = [row.value for row in every if row.value is not None]
    y = _metric_scale(values, config, top, bottom)
    parts = _frame(left, right, top, bottom, _ticks(values, y), "trial", x, [0, config.total - 1])
    better = min if config.mode == "min" else max
    best, path = float(done[0].value or 0), ""
    for row in done:
        best = better(best, float(row.value or 0))
        path += f"M{x(row.number):.1f},{y(best):.1f}" if not path else f"H{x(row.number):.1f}V{y(best):.1f}"
    parts.append(f'<path class="sofar" d="{path}H{x(every[-1].number):.1f}"/>')
    for row in every:
        kind = "dot off" if row.state == "pruned" else "dot"
        place = f'cx="{x(row.number):.1f}" cy="{y(float(row.value or 0)):.1f}"'
        parts.append(f'<circle class="{kind}" {place} r="4.5">{_title(row, config)}</circle>')
    return _svg(250, parts, WIDTH // 2)


def curves(rows: Sequence[Row], config: SweepConfig, tops: Sequence[int]) -> str:
    """The metric over the steps of each trial; a cross where one was pruned."""
    drawn = [row for row in rows if len(row.curve) > 1 or (row.curve and row.state == "pruned")]
    finite = [value for row in drawn for _, value in row.curve if math.isfinite(value)]
    if not finite:
        return ""
    top, bottom, left, right = 16.0, 210.0, 70.0, WIDTH / 2 - 30
    longest = max(row.curve[-1][0] for row in drawn)
    x, y = _linear(0, longest, left, right), _metric_scale(finite, config, top, bottom)
    parts = _frame(left, right, top, bottom, _ticks(finite, y), "step", x, [0, longest // 2, longest])
    colour = _colours([row for row in drawn if row.value is not None], config)
    for row in sorted(drawn, key=lambda row: (row.state == "finished", row.number in tops)):
        points = [(x(step), y(value)) for step, value in row.curve if math.isfinite(value)]
        path = " ".join(f"{'ML'[i > 0]}{a:.1f},{b:.1f}" for i, (a, b) in enumerate(points))
        kind = "line best" if row.number in tops else "line"
        stroke = colour.get(row.number, OFF) if row.state == "finished" else OFF
        parts.append(f'<path class="{kind}" d="{path}" stroke="{stroke}">{_title(row, config)}</path>')
        if row.state == "pruned" and points:
            a, b = points[-1]
            cross = f"M{a - 4:.1f},{b - 4:.1f}l8,8m0,-8l-8,8"
            parts.append(f'<path class="cross" d="{cross}">{_title(row, config)}</path>')
    return _svg(250, parts, WIDTH // 2)


def importance(shares: dict[str, float]) -> str:
    """A bar a parameter, the share of the metric's variance that it explains."""
    parts, left = [], 190.0
    for i, (key, share) in enumerate(sorted(shares.items(), key=lambda pair: -pair[1])):
        y = 14 + 30 * i
        wide = (WIDTH - left - 90) * share
        parts.append(_text(left - 10, y + 14, short(key), "end", "name"))
        parts.append(f'<rect class="bar" x="{left}" y="{y}" width="{wide:.1f}" height="19" rx="3"/>')
        parts.append(_text(left + wide + 8, y + 14, f"{100 * share:.0f} %", "start", "tick"))
    return _svg(22 + 30 * len(shares), parts)


class _Axis:
    """One parameter: where a value stands on its axis."""

    def __init__(self, dimension: Dimension, used: Sequence[object], top: float, bottom: float) -> None:
        self.dimension = dimension
        self._names = [shown(value) for value in dimension.values or ()]
        self._places = _spread(len(self._names), bottom - 14, top + 14)
        self._low, self._high = float(dimension.low or 0), float(dimension.high or 1)
        self._scale = _linear(self._turn(self._low), self._turn(self._high), bottom, top)

    def place(self, value: object) -> float:
        if self._names:
            return self._places[self._names.index(shown(value))]
        assert isinstance(value, int | float)
        return self._scale(self._turn(float(value)))

    def ticks(self) -> list[tuple[str, float]]:
        if self._names:
            return list(zip(self._names, self._places))
        middle = (self._turn(self._low) + self._turn(self._high)) / 2
        middle = math.exp(middle) if self.dimension.log else middle
        if self.dimension.whole:
            middle = round(middle)
        numbers = dict.fromkeys((self._low, middle, self._high))
        return [(f"{number:.3g}", self.place(number)) for number in numbers]

    def _turn(self, value: float) -> float:
        return math.log(value) if self.dimension.log else value


def _metric_scale(values: Sequence[float], config: SweepConfig, top: float, bottom: float) -> _Scale:
    low, high = min(values), max(values)
    margin = 0.04 * (high - low) or abs(low) * 0.05 or 1.0
    ends = (low - margin, high + margin)
    worst, best = ends if config.mode == "max" else ends[::-1]
    return _linear(worst, best, bottom, top)


def _ticks(values: Sequence[float], scale: _Scale) -> list[tuple[str, float]]:
    low, high = min(values), max(values)
    numbers = dict.fromkeys((low, (low + high) / 2, high))
    return [(f"{number:.4g}", scale(number)) for number in numbers]


def _frame(
    left: float, right: float, top: float, bottom: float,
    ticks: list[tuple[str, float]], below: str, x: _Scale, marks: list[int],
) -> list[str]:  # fmt: skip
    """Horizontal lines with numbers, and marks below."""
    parts = []
    for label, y in ticks:
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(_text(left - 8, y + 4, label, "end", "tick"))
    parts += [_text(x(mark), bottom + 18, str(mark), "middle", "tick") for mark in dict.fromkeys(marks)]
    return [*parts, _text((left + right) / 2, bottom + 34, below, "middle", "tick")]


def _colours(rows: Sequence[Row], config: SweepConfig) -> dict[int, str]:
    """From pale (the worst) to dark (the best), by rank: an outlier does not wash out the others."""
    ranked = sorted((row for row in rows if row.state == "finished"), key=lambda row: _order(row, config))
    colours = {}
    for place, row in enumerate(ranked):
        share = place / max(len(ranked) - 1, 1) if len(ranked) > 1 else 1.0
        mixed = (round(w + (b - w) * share) for w, b in zip(WORST, BEST))
        colours[row.number] = "#{:02x}{:02x}{:02x}".format(*mixed)
    return colours


def _order(row: Row, config: SweepConfig) -> tuple[float, int]:
    value = float(row.value or 0)
    return (value if config.mode == "max" else -value, -row.number)


def _linear(low: float, high: float, start: float, end: float) -> _Scale:
    span = (high - low) or 1.0
    return lambda value: start + (end - start) * (value - low) / span


def _spread(count: int, start: float, end: float) -> list[float]:
    return (
        [start + (end - start) * i / max(count - 1, 1) for i in range(count)]
        if count > 1
        else [(start + end) / 2]
    )


def _title(row: Row, config: SweepConfig) -> str:
    lines = [f"trial {row.number}, {row.state}"]
    lines += [f"{key} = {shown(value)}" for key, value in row.params.items()]
    if row.seed is not None:
        lines.append(f"seed = {row.seed}")
    if row.value is not None:
        lines.append(f"{config.metric} = {row.value:.6g}")
    return f"<title>{escape(chr(10).join(lines))}</title>"


def _text(x: float, y: float, text: str, anchor: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: int, parts: Sequence[str], width: int = WIDTH) -> str:
    body = "\n".join(parts)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" xmlns="http://www.w3.org/2000/svg">\n{body}\n</svg>'
    )
