"""What runs lie below a folder, and how each stands: `mien runs`."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mien.engine.rundir import RunFolder, process_birth
from mien.engine.tracking import read_metrics
from mien.errors import MienError, RunError

FRESH_S = 900.0
"""A run of another machine counts as running while its logs are younger than this."""


STATES = ("new", "running", "finished", "pruned", "stopped", "failed", "killed", "imported")
"""How a run can stand; see `RunSummary`."""


@dataclass(frozen=True)
class RunSummary:
    """One run.

    Attributes:
        path: its folder.
        recipe: name of its recipe.
        state: new, running, finished, pruned (given up by its sweep), stopped (by a signal, after a save),
            failed, killed (the process is gone without a word), or imported (made of given weights).
        step: last step in its logs.
        max_steps: length that the recipe asks for.
        saved: step of the newest checkpoint folder, None without one.
        metric: name and last value of the metric that decides the best checkpoint, else of a loss.
        bytes: size of the folder on disk.
        changed: seconds since the epoch, when its logs last grew.
    """

    path: Path
    recipe: str
    state: str
    step: int
    max_steps: int
    saved: int | None
    metric: tuple[str, float] | None
    bytes: int
    changed: float


def find(root: Path, state: str | None = None) -> list[RunSummary]:
    """Runs below `root`, in one state or in any, the newest first; unreadable ones are left out and said.

    Raises:
        RunError: if `root` is no folder, or no run can be in that state.
    """
    if state not in (None, *STATES):
        raise RunError(f"no run is ever {state!r}", where="--state", fix=f"one of: {', '.join(STATES)}")
    if not root.is_dir():
        raise RunError("no such folder", where=root, fix="give a run root, such as checkpoints")
    runs = []
    for file in sorted(root.rglob("run.json")):
        try:
            runs.append(summarise(RunFolder(file.parent)))
        except MienError as error:
            print(f"left out: {error}", file=sys.stderr)
    wanted = [run for run in runs if state in (None, run.state)]
    return sorted(wanted, key=lambda run: run.changed, reverse=True)


def summarise(run: RunFolder) -> RunSummary:
    """How a run stands.

    Raises:
        MienError: if its files cannot be read.
    """
    info, recipe = run.info, run.recipe
    log = run.path / "metrics.csv"
    rows = read_metrics(log, last=2000)
    changed = (log if log.exists() else run.path / "run.json").stat().st_mtime
    steps = run.store.steps()
    best = recipe.engine.best
    wanted = [f"val/{best.metric}"] if best is not None else ["val/loss", "train/loss"]
    return RunSummary(
        path=run.path,
        recipe=str(info.get("recipe", recipe.name)),
        state=_state(info, changed),
        step=int(rows[-1]["step"]) if rows else 0,
        max_steps=recipe.engine.max_steps,
        saved=steps[-1] if steps else None,
        metric=_last(rows, wanted),
        bytes=sum(file.lstat().st_blocks * 512 for file in run.path.rglob("*") if not file.is_dir()),
        changed=changed,
    )


def _state(info: dict[str, Any], changed: float) -> str:
    if info.get("state") != "running":
        return str(info.get("state"))
    session = info["sessions"][-1] if info["sessions"] else {}
    if session.get("host") == socket.gethostname() and isinstance(session.get("pid"), int):
        return "running" if _alive(session["pid"], session.get("born")) else "killed"
    return "running" if time.time() - changed < FRESH_S else "killed"


def _alive(pid: int, born: int | None) -> bool:
    if born is not None:
        return process_birth(pid) == born
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, but there
    return True


def _last(rows: list[dict[str, float]], names: list[str]) -> tuple[str, float] | None:
    for name in names:
        for row in reversed(rows):
            if name in row:
                return name, row[name]
    return None


def print_runs(runs: list[RunSummary]) -> None:
    """A table of runs; folders stand last and whole, for copying."""
    table = Table(box=None, pad_edge=False)
    for name, justify in (
        ("recipe", "left"), ("state", "left"), ("step", "right"), ("saved", "right"), ("metric", "left"),
        ("size", "right"), ("changed", "left"), ("folder", "left"),
    ):  # fmt: skip
        table.add_column(name, justify=justify, no_wrap=name != "metric", overflow="fold")  # type: ignore[arg-type]
    colours = {"running": "green", "failed": "red", "killed": "red", "stopped": "yellow"}
    for run in runs:
        colour = colours.get(run.state, "default")
        table.add_row(
            run.recipe, f"[{colour}]{run.state}[/]", f"{run.step}/{run.max_steps}",
            "-" if run.saved is None else str(run.saved),
            "-" if run.metric is None else f"{run.metric[0]} {run.metric[1]:.4g}", _size(run.bytes),
            f"{datetime.fromtimestamp(run.changed):%Y-%m-%d %H:%M}", str(run.path),
        )  # fmt: skip
    Console(width=400).print(table)  # lines better wrap in the terminal than lose columns


def write_json(runs: list[RunSummary], file: Path) -> None:
    """The same for programs: a list of objects with the fields of `RunSummary`."""
    rows = [
        {**asdict(run), "path": str(run.path), "metric": dict([run.metric]) if run.metric else None}
        for run in runs
    ]
    file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
