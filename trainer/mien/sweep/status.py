"""How a sweep stands: a row a trial, and the means over seeds."""

from __future__ import annotations

import csv
import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from rich.console import Console
from rich.table import Table

from mien.engine.rundir import RunFolder, write_atomic
from mien.engine.tracking import read_metrics
from mien.sweep import space
from mien.sweep.study import Sweep

COLOURS = {
    "finished": "green",
    "running": "cyan",
    "failed": "red",
    "interrupted": "yellow",
    "pruned": "yellow",
}


@dataclass(frozen=True)
class Row:
    """One trial.

    Attributes:
        number: from 0.
        point: which point of the space; trials of one point differ in their seed.
        state: waiting, running, interrupted, finished, pruned or failed.
        params: recipe key -> value.
        seed: of the training, None where the recipe's holds.
        value: of the metric; of a pruned trial the one that it was judged by.
        steps: done.
        seconds: of training so far, pauses after an orderly stop left out.
        sessions: how often it was started.
        run: run folder, empty before the first step.
        reason: why it was pruned or failed.
        curve: (step, value) of the metric on the way.
    """

    number: int
    point: int
    state: str
    params: dict[str, Any]
    seed: int | None
    value: float | None
    steps: int
    seconds: float
    sessions: int
    run: str
    reason: str
    curve: tuple[tuple[int, float], ...]


def rows(sweep: Sweep) -> list[Row]:
    """Trials that were begun, by number."""
    return [_row(sweep, trial) for trial in sweep.trials()]


def _row(sweep: Sweep, trial: FrozenTrial) -> Row:
    seeds, facts = sweep.config.seeds, trial.user_attrs
    folder = RunFolder.newest(sweep.recipe(trial.number))
    steps, seconds, sessions = facts.get("steps", 0), facts.get("seconds", 0.0), facts.get("sessions", 0)
    if folder is not None and not trial.state.is_finished():
        last = read_metrics(folder.path / "metrics.csv", last=1)
        steps = int(last[0]["step"]) if last else 0
        seconds, sessions = folder.wall_seconds(), len(folder.info["sessions"])
    curve = [(step, value) for step, value in sorted(trial.intermediate_values.items())]
    if trial.value is not None and (not curve or curve[-1][0] < steps) and sweep.config.value == "last":
        curve.append((steps, trial.value))
    return Row(
        number=trial.number,
        point=facts["point"],
        state=_state(sweep, trial),
        params=space.values(sweep.config, trial.params),
        seed=seeds[trial.number % len(seeds)] if seeds else None,
        value=trial.value,
        steps=steps,
        seconds=seconds,
        sessions=sessions,
        run="" if folder is None else str(folder.path),
        reason=facts.get("reason", ""),
        curve=tuple(curve),
    )


def _state(sweep: Sweep, trial: FrozenTrial) -> str:
    if trial.state.is_finished():
        return {"COMPLETE": "finished", "PRUNED": "pruned"}.get(trial.state.name, "failed")
    claim = sweep.claims.newest(trial.number)
    return "interrupted" if claim is None or sweep.claims.held(claim, patience=0) is False else "running"


def best_point(sweep: Sweep, found: list[Row]) -> list[Row]:
    """Finished trials of the point with the best mean; [] before the first one is whole."""
    by_point: dict[int, list[Row]] = {}
    for row in found:
        if row.state == "finished" and row.value is not None:
            by_point.setdefault(row.point, []).append(row)
    whole = [group for group in by_point.values() if len(group) == max(len(sweep.config.seeds), 1)]
    sign = 1 if sweep.config.mode == "min" else -1
    return min(whole, key=lambda group: sign * mean(group), default=[])


def mean(group: list[Row]) -> float:
    """Mean of the metric over trials that have one."""
    return statistics.fmean(row.value for row in group if row.value is not None)


def print_status(sweep: Sweep) -> None:
    """A table of trials, the best point below it."""
    found, config = rows(sweep), sweep.config
    table = Table(box=None, pad_edge=False)
    for name in ("trial", "state", *map(short, config.space), *(("seed",) if config.seeds else ())):
        table.add_column(name, no_wrap=True)
    for name in (config.metric, "step", "seconds", "starts"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("run folder", no_wrap=True, overflow="fold")
    top = [row.number for row in best_point(sweep, found)]
    for row in found:
        params = [shown(row.params.get(key)) for key in config.space]
        seed = [str(row.seed)] if config.seeds else []
        value = "-" if row.value is None else f"{row.value:.5g}{' *' if row.number in top else ''}"
        table.add_row(
            str(row.number), f"[{COLOURS[row.state]}]{row.state}[/]", *params, *seed, value, str(row.steps),
            f"{row.seconds:.0f}", str(row.sessions), row.run or row.reason,
        )  # fmt: skip
    console = Console(width=400)
    console.print(table)
    counts = {state: sum(row.state == state for row in found) for state in COLOURS}
    told = [f"{count} {state}" for state, count in counts.items() if count]
    told += [f"{config.total - len(found)} to begin"] * (config.total > len(found))
    console.print(f"{config.name}: {config.total} trials; {', '.join(told)}; * best", highlight=False)


def write_tables(found: list[Row], config_dump: dict[str, Any], folder: Path) -> None:
    """`trials.csv` with a column a parameter, and `trials.json` with everything."""
    keys = list(config_dump["space"])
    facts = ("state", "value", "steps", "seconds", "sessions", "run", "reason")
    with (folder / "trials.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "point", "seed", *keys, *facts])
        for row in found:
            head = [row.number, row.point, "" if row.seed is None else row.seed]
            writer.writerow(
                [*head, *(shown(row.params.get(k)) for k in keys), *(getattr(row, f) for f in facts)]
            )
    text = json.dumps({"sweep": config_dump, "trials": [asdict(row) for row in found]}, indent=1)
    write_atomic(folder / "trials.json", text + "\n")


def shown(value: Any) -> str:
    """A parameter in few characters."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def short(key: str) -> str:
    """The last part of a recipe key, with the one before where it says little alone."""
    parts = key.split(".")
    return ".".join(parts[-2:]) if len(parts) > 2 else parts[-1]
