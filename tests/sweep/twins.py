"""A trial against a run of the same recipe that nothing disturbed."""

from __future__ import annotations

from pathlib import Path

from engine.runs import differences, learned, only_run, samples, state
from mien import engine, recipe
from mien.engine.rundir import RunFolder
from mien.sweep import load
from mien.sweep.study import Sweep


def as_undisturbed(sweep: Sweep, number: int, base: str | Path, root: Path) -> RunFolder:
    """Train the twin of a trial below `root` and compare everything; gives the trial's run.

    Weights, optimiser and random states bit by bit, every sample once, the same losses. A stop signal skips
    the validation of its step; apart from that, the same validations, and the same value at the end.
    """
    fixed = [load.override(key, value) for key, value in sweep.config.set.items()]
    twin_recipe = recipe.load(base, [*fixed, *sweep.overrides(number), f"run.root={root}"])
    engine.run(twin_recipe)
    run, twin = only_run(sweep.root(number)), only_run(root)
    assert differences(state(run), state(twin)) == []
    assert samples(run) == samples(twin)
    size = twin_recipe.engine.global_batch * twin_recipe.engine.max_steps
    assert [position for _, position, *_ in samples(run)] == list(range(size))
    mine, theirs = learned(run), learned(twin)
    skipped = [row["step"] for row, other in zip(mine, theirs, strict=True) if row.keys() < other.keys()]
    assert len(skipped) < len(run.info["sessions"])
    for row, other in zip(mine, theirs, strict=True):
        assert row == {name: other[name] for name in row}
    assert mine[-1] == theirs[-1]
    assert sweep.trials()[number].value == mine[-1]["val/loss"]
    return run
