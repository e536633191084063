"""The table of methods by task, with paired tests of the first method against each other one."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mien.benchmarks.base import TASKS
from mien.engine.rundir import write_atomic
from mien.evaluation.figures import BLUE, INK, STYLE, WRONG
from mien.evaluation.suite.paired import Difference, compare
from mien.evaluation.suite.results import read_result

Scores = dict[str, list[Path]]
"""Method to the folders that `mien benchmark` wrote, one a seed."""


def write_table(
    scores: Mapping[str, Sequence[Path]], out: Path, *, stem: str = "twins", draws: int = 2000
) -> str:
    """Write `<stem>.md`, `<stem>.csv` and `<stem>.png`; returns the first.

    Args:
        scores: at least two methods; the first is compared with each of the others.
        out: folder.
        stem: of the files.
        draws: resamplings of the paired tests.

    Raises:
        MienError: if the folders do not hold the same benchmarks and items.
    """
    first, *others = scores
    pairs = {name: compare(scores[first], scores[name], n=draws) for name in others}
    out.mkdir(parents=True, exist_ok=True)
    text = _means(first, pairs) + "\n" + _differences(first, pairs) + "\n" + _each(first, pairs)
    write_atomic(out / f"{stem}.md", text)
    write_atomic(out / f"{stem}.csv", _csv(scores))
    (out / f"{stem}.png").write_bytes(_picture(first, pairs))
    return text


def _summaries(rows: Sequence[Difference]) -> list[Difference]:
    return [row for row in rows if _is_summary(row)]


def _is_summary(row: Difference) -> bool:
    return row.name == "all" or row.name.startswith("task ")


def _means(first: str, pairs: Mapping[str, Sequence[Difference]]) -> str:
    """Mean and sample standard deviation over seeds of each task's mean, percent."""
    some = _summaries(next(iter(pairs.values())))
    sides = {first: [row.first for row in some]}
    sides |= {name: [row.second for row in _summaries(rows)] for name, rows in pairs.items()}
    best = [max(float(values[i].mean()) for values in sides.values()) for i in range(len(some))]
    lines = [_line("method", *(row.name.removeprefix("task ") for row in some)), _rule(len(some))]
    for name, values in sides.items():
        cells = [_spread(one, float(one.mean()) == top) for one, top in zip(values, best)]
        lines.append(_line(name, *cells))
    return "\n".join(lines) + "\n"


def _differences(first: str, pairs: Mapping[str, Sequence[Difference]]) -> str:
    """First minus each other method by task, with interval and p."""
    some = _summaries(next(iter(pairs.values())))
    head = [f"{first} minus", *(row.name.removeprefix("task ") for row in some)]
    lines = [_line(*head), _rule(len(some))]
    for name, rows in pairs.items():
        lines.append(_line(name, *(_gain(row) for row in _summaries(rows))))
    return "\n".join(lines) + "\n"


def _each(first: str, pairs: Mapping[str, Sequence[Difference]]) -> str:
    """Means of every method on every benchmark."""
    sets = [{row.name: row for row in rows if not _is_summary(row)} for rows in pairs.values()]
    lines = [_line("benchmark", "items", first, *pairs), _rule(2 + len(pairs))]
    for benchmark in sets[0]:
        rows = [found[benchmark] for found in sets]
        values = [float(rows[0].first.mean()), *(float(row.second.mean()) for row in rows)]
        cells = [f"**{100 * v:.1f}**" if v == max(values) else f"{100 * v:.1f}" for v in values]
        lines.append(_line(rows[0].name, str(rows[0].samples), *cells))
    return "\n".join(lines) + "\n"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(columns: int) -> str:
    return "|---|" + "---:|" * columns


def _spread(values: np.ndarray, best: bool) -> str:
    mean = f"**{100 * values.mean():.1f}**" if best else f"{100 * values.mean():.1f}"
    return f"{mean} ± {100 * values.std(ddof=1):.1f}" if len(values) > 1 else mean


def _gain(row: Difference) -> str:
    p = "p < 0.001" if row.p < 0.001 else f"p {row.p:.3f}"
    return f"{100 * row.value:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}], {p}"


def _csv(scores: Mapping[str, Sequence[Path]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "number", "benchmark", "task", "value", "low", "high"])
    for method, folders in scores.items():
        for number, folder in enumerate(folders):
            for path in sorted(folder.glob("*/result.json")):
                result = read_result(path.parent)
                assert result is not None  # listed because the file is there
                main = [f"{value:.6f}" for value in (result.main.value, result.main.low, result.main.high)]
                writer.writerow([method, number, result.name, result.task, *main])
    return text.getvalue()


def _picture(first: str, pairs: Mapping[str, Sequence[Difference]]) -> bytes:
    """Differences by task with 95 % intervals; right of the line the first method is better."""
    tasks = (*TASKS, "all")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.1 * len(pairs) + 1.2, 2.6), layout="constrained")
        for place, (axes, (name, rows)) in enumerate(
            zip(np.atleast_1d(figure.subplots(1, len(pairs), sharex=True, sharey=True)), pairs.items())
        ):
            found = {row.name.removeprefix("task "): row for row in _summaries(rows)}
            for line, task in enumerate(tasks):
                if task in found:
                    row = found[task]
                    low, high, value = (100 * x for x in (row.low, row.high, row.value))
                    color = BLUE if low > 0 else WRONG if high < 0 else INK
                    axes.plot([low, high], [line, line], color=color, linewidth=2)
                    axes.plot(value, line, "o", color=color, markersize=5)
            axes.axvline(0, color=INK, linewidth=0.8)
            axes.set_title(f"minus {name}", fontsize=9)
            if place == 0:
                axes.set_yticks(range(len(tasks)), tasks)
                axes.invert_yaxis()
        figure.supxlabel(f"{first}: points gained, 95 % over people", fontsize=9)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
