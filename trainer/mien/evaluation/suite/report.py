"""The paper's table beside ours: report.json, table.md, report.html and what is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mien.benchmarks.base import TASKS
from mien.engine.rundir import write_atomic
from mien.errors import MienError
from mien.evaluation.metrics import Interval
from mien.evaluation.suite.embed import ProtocolName
from mien.evaluation.suite.published import Published, published
from mien.evaluation.suite.results import MAIN, Result

TITLES = {"uar": "UAR", "war": "WAR", "au_f1": "mean F1", "accuracy": "accuracy"}
HEAD = (
    "benchmark",
    "task",
    "samples",
    "metric",
    "ours [95 %]",
    "WAR",
    "EmoCapCLIP",
    "FLIP",
    "Exp-CLIP",
    "EmoCLIP",
)
RIVALS = ("EmoCapCLIP", "FLIP", "Exp-CLIP", "EmoCLIP (video only)")


def write_report(model: str, results: Sequence[Result], out: Path) -> None:
    """Write `report.json`, `table.md` and `report.html`.

    Raises:
        MienError: if the results are of different protocols.
    """
    protocol = protocol_of(results)
    out.mkdir(parents=True, exist_ok=True)
    content = {
        "model": model,
        "protocol": protocol,
        "benchmarks": [
            one.to_dict() | {"published": [asdict(row) for row in beside(one)]} for one in results
        ],
    }
    write_atomic(out / "report.json", json.dumps(content, indent=2) + "\n")
    write_atomic(out / "table.md", markdown(model, results))
    write_atomic(out / "report.html", page(model, results))


def protocol_of(results: Sequence[Result]) -> ProtocolName:
    """The one protocol of all results; raises MienError if there are two, or no results."""
    found = sorted({one.protocol for one in results})
    if len(found) != 1:
        what = f"a table cannot mix protocols {' and '.join(found)}" if found else "no benchmark was scored"
        raise MienError(what, fix="score every benchmark with the same --protocol")
    return results[0].protocol


def cells(result: Result) -> list[str]:
    """One line of the main table, in percent."""
    told = {row.method: row for row in beside(result) if row.protocol == "unstated"}
    war = result.rows[0].metrics.get("war")
    return [
        result.title + (f" ({len(result.damaged)} damaged)" if result.damaged else ""),
        result.task, str(result.samples), TITLES[MAIN[result.task]], percent(result.main),
        f"{100 * war.value:.1f}" if war else "-",
        *(f"{told[name].uar:.1f}" if name in told else "-" for name in RIVALS),
    ]  # fmt: skip


def percent(metric: Interval) -> str:
    """`62.8 [61.0, 64.5]`; a dash where it is undefined."""
    if metric.value != metric.value:
        return "-"
    return f"{100 * metric.value:.1f} [{100 * metric.low:.1f}, {100 * metric.high:.1f}]"


def print_results(model: str, results: Sequence[Result], console: Console | None = None) -> None:
    """Print the main table."""
    protocol = protocol_of(results)
    table = Table(title=f"{model}, protocol {protocol}", caption=CAPTION)
    for place, name in enumerate(HEAD):
        table.add_column(name, justify="left" if place in (0, 1, 3) else "right", no_wrap=place == 4)
    for result in results:
        table.add_row(*cells(result))
    (console or Console(width=None if sys.stdout.isatty() else 140)).print(table)


def beside(result: Result) -> list[Published]:
    """Published rows that may stand beside a result: none where the set was made by mien."""
    return [] if result.facts.get("synthetic") else published(result.name, result.protocol)


CAPTION = "percent; 95 % over people; the last four published, ViT-B/32, read off (+-0.3), protocol unstated"


def markdown(model: str, results: Sequence[Result]) -> str:
    """The main table, then all rows of each benchmark with the published ones."""
    lines = [
        f"# {model}, protocol {protocol_of(results)}",
        "",
        CAPTION + ".",
        "",
        *_grid(HEAD, map(cells, results)),
    ]
    for result in results:
        lines += ["", f"## {result.title}", "", *damage(result), *_grid(detail_head(result), details(result))]
    return "\n".join(lines) + "\n"


def damage(result: Result) -> list[str]:
    """Lines that say what was left out; none where nothing was."""
    if not result.damaged:
        return []
    return [
        f"{len(result.damaged)} samples could not be read and are left out: {'; '.join(result.damaged)}",
        "",
    ]


def detail_head(result: Result) -> list[str]:
    """Columns of a benchmark's own table."""
    return ["method", *(TITLES.get(name, name) for name in _metrics(result)), "note"]


def details(result: Result) -> list[list[str]]:
    """Our rows, then the published rows that may stand beside them."""
    names = _metrics(result)
    rows = [
        [
            row.method,
            *(percent(row.metrics[name]) if name in row.metrics else "-" for name in names),
            row.note,
        ]
        for row in result.rows
    ]
    for told in beside(result):
        values = {MAIN[result.task]: told.uar, "war": told.war}
        shown = [f"{value:.1f}" if (value := values.get(name)) is not None else "-" for name in names]
        rows.append([told.method, *shown, f"published ({told.source}); {told.note}"])
    return rows


def _metrics(result: Result) -> list[str]:
    return list(dict.fromkeys(name for row in result.rows for name in row.metrics))


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    made = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        made.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return made


def page(model: str, results: Sequence[Result]) -> str:
    """One self-contained page, in sections a task."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    from mien.evaluation import figures
    from mien.evaluation.page import Picture

    dots = []
    for one in results:
        if one.main.value == one.main.value:
            dots.append((one.title, one.main.value, one.main.low, one.main.high, True))
            theirs = [row for row in beside(one) if row.method == "EmoCapCLIP"]
            dots += [(f"{one.title}, published", *(row.uar / 100,) * 3, False) for row in theirs]
    picture = Picture("Ours and the paper's", "Main metric; grey: EmoCapCLIP as published, ViT-B/32.",
                      figures.intervals(dots, "UAR, mean F1 or accuracy"))  # fmt: skip
    environment = Environment(
        loader=PackageLoader("mien.evaluation.suite", "."), autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined,
    )  # fmt: skip
    return environment.get_template("page.html.j2").render(
        model=model, protocol=protocol_of(results), caption=CAPTION, head=HEAD,
        lines=[cells(one) for one in results],
        picture=picture if dots else None,
        tasks=[(task, [one for one in results if one.task == task]) for task in TASKS],
        detail_head=detail_head, details=details,
    )  # fmt: skip
