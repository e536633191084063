"""One trial in a process of its own: train it from where it stands, and tell the sweep how it ended."""

from __future__ import annotations

import ctypes
import logging
import math
import os
import signal
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from mien.engine.rundir import RunFolder
from mien.engine.tracking import read_metrics
from mien.errors import MienError, RunError
from mien.recipe import Recipe
from mien.sweep.study import Sweep

log = logging.getLogger("mien.sweep")
PARENT = "MIEN_SWEEP_PARENT"
"""Variable that names the process with whose end a trial stops."""


def train_trial(root: Path, generation: int | None, extra: list[str]) -> None:
    """Train a trial to its end, on every rank at once, and note the result.

    Args:
        root: run root of the trial, `<sweep>/trial-0003`.
        generation: of the claim that it is trained under; None takes the trial unasked.
        extra: more `key=value` for its recipe, such as the number of nodes.

    Raises:
        MienError: if it cannot be trained for a reason that other trials would meet too.
        Stopped: a SystemExit, after a stop signal and a save; the trial can be taken again.
    """
    # Here, not above: torch and Lightning load slowly, and a worker that starts trials needs neither.
    from mien.engine.training import train
    from mien.sweep.watch import TrialWatch

    _follow_parent()
    sweep, number = open_trial(root)
    trial = sweep.trials()[number]
    if trial.state.is_finished():
        log.info("trial %d is done", number)
        return
    recipe = sweep.recipe(number, extra)
    watch = TrialWatch(sweep, number, generation, recipe)
    if generation is not None and _first():
        sweep.claims.enter(number, generation)
    try:
        folder = RunFolder(train(recipe, resume=True, callbacks=[watch]))
    except MienError as error:
        if not _own_fault(error, recipe):
            raise
        if _first():
            fail(sweep, number, error.what)
        return
    if _first():
        if watch.pruned:
            folder.update(state="pruned")
        _conclude(sweep, number, folder, watch.pruned)


def open_trial(root: Path) -> tuple[Sweep, int]:
    """The sweep and the number of a trial's run root.

    Raises:
        RunError: if it is none, or that trial was never begun.
    """
    name = root.name
    sweep = Sweep.open(root.parent)
    number = int(name.removeprefix("trial-")) if name.removeprefix("trial-").isdecimal() else -1
    if not 0 <= number < len(sweep.trials()):
        raise RunError("no trial of that number has begun", where=root, fix="see mien sweep SWEEP --status")
    return sweep, number


def fail(sweep: Sweep, number: int, reason: str) -> None:
    """Note that a trial cannot be finished."""
    folder = RunFolder.newest(sweep.recipe(number))
    facts = _facts(folder) if folder is not None else {}
    sweep.tell(number, TrialState.FAIL, reason=reason, **facts)


def _conclude(sweep: Sweep, number: int, folder: RunFolder, pruned: bool) -> None:
    rows = read_metrics(folder.path / "metrics.csv")
    metric = sweep.config.metric
    found = [row[metric] for row in rows if metric in row]
    if not found:
        from mien.sweep.watch import unknown_metric

        raise unknown_metric(metric, rows[-1] if rows else {}, sweep)
    finite = [value for value in found if math.isfinite(value)]
    value = found[-1]
    if sweep.config.value == "best" and finite:
        value = min(finite) if sweep.config.mode == "min" else max(finite)
    if pruned:
        sweep.tell(
            number,
            TrialState.PRUNED,
            value,
            reason=f"behind at step {rows[-1]['step']:.0f}",
            **_facts(folder),
        )
    elif not math.isfinite(value):
        sweep.tell(number, TrialState.FAIL, reason=f"{metric} is {value}", **_facts(folder))
    else:
        sweep.tell(number, TrialState.COMPLETE, value, **_facts(folder))


def _facts(folder: RunFolder) -> dict[str, Any]:
    rows = read_metrics(folder.path / "metrics.csv", last=1)
    return {
        "run": str(folder.path),
        "seconds": round(folder.wall_seconds(), 3),
        "steps": int(rows[-1]["step"]) if rows else 0,
        "sessions": len(folder.info["sessions"]),
    }


def _own_fault(error: MienError, recipe: Recipe) -> bool:
    """Whether training itself went wrong, as the guard notes in a ledger of the run folder.

    Anything else, such as a full disk or a missing shard, would befall the next trial as well.
    """
    ledger, folder = Path(error.where), RunFolder.newest(recipe)
    return folder is not None and ledger.parent == folder.path and ledger.suffix == ".jsonl"


def _first() -> bool:
    from lightning.pytorch.utilities import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0)) == 0


def _follow_parent() -> None:
    """Be told to stop when the worker that started this process ends, however it ends (Linux only)."""
    if os.environ.get(PARENT) != str(os.getppid()):
        return
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
