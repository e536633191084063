"""A sweep as an array on the test cluster, pre-empted in the middle: every trial once, each unharmed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from pathlib import Path

import pytest
import yaml
from cluster import NODES, Cluster
from laboratory import PATIENCE_S, Laboratory
from optuna.trial import TrialState

from engine.runs import only_run
from mien.faults.sets import write_set
from mien.sweep.study import Sweep
from sweep.twins import as_undisturbed

pytestmark = pytest.mark.slurm
LAUNCHER = Path(__file__).resolve().parents[2] / "slurm" / "sweep.sh"
TRIALS = 6
STEPS = 60


@pytest.fixture(scope="module")
def file(lesson: Path) -> Path:
    """A sweep beside the recipe of the lesson."""
    write_set(lesson / "held-out", 20, seed=1, first_uid=5000)
    tree = {
        "recipe": "tiny.yaml",
        "set": {
            "engine.max_steps": STEPS, "engine.val_every": 20, "data.val.shards": str(lesson / "held-out"),
            "data.workers": 0,
        },
        "method": "random", "trials": TRIALS, "metric": "val/loss", "mode": "min",
        "space": {
            "engine.optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True},
            "objective.local.weight": {"values": [0.0, 0.5]},
        },
    }  # fmt: skip
    path = lesson / "six.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def test_an_array_pre_empted_in_the_middle_finishes_every_trial_once_and_unharmed(
    laboratory: Laboratory, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, folder = laboratory.cluster, laboratory.folder
    array = cluster.submit(f"--array=0-{TRIALS - 1}", str(LAUNCHER), file.name, cwd=folder)
    begun = folder / "checkpoints" / "sweeps" / "six"
    halfway = _hold(cluster, begun, 3)
    urgent = laboratory.pre_empt()
    for task in range(TRIALS):
        facts = cluster.wait_ended(f"{array}_{task}", PATIENCE_S)
        assert facts["JobState"] == "COMPLETED", laboratory.said(f"{array}_{task}")
    assert cluster.job(urgent)["JobState"] == "COMPLETED"
    restarts = [int(cluster.job(f"{array}_{task}")["Restarts"]) for task in range(TRIALS)]
    assert sum(restarts) >= 3

    sweep = Sweep.open(begun)
    everything = sweep.study.get_trials()
    assert [trial.state for trial in everything] == [TrialState.COMPLETE] * TRIALS
    claims = sorted(path.name for path in (begun / "claims").glob("*.json"))
    assert claims == [f"{number:04d}-00.json" for number in range(TRIALS)], "a trial changed hands"
    runs = [only_run(sweep.root(number)) for number in range(TRIALS)]
    assert all(len(runs[number].info["sessions"]) == 2 for number in halfway)

    monkeypatch.chdir(folder)
    for number in sorted(halfway):
        as_undisturbed(sweep, number, folder / "tiny.yaml", folder / f"twin-{number}")


def test_a_trial_on_two_nodes_goes_on_after_its_rank_was_killed(laboratory: Laboratory, file: Path) -> None:
    cluster, folder = laboratory.cluster, laboratory.folder
    keys = ("name=wide", "trials=1", "pruning.rule=median")
    job = cluster.submit(f"--nodes={len(NODES)}", str(LAUNCHER), file.name, *keys, cwd=folder)
    begun = folder / "checkpoints" / "sweeps" / "wide"
    cluster.wait(lambda: _training(begun) == {0}, "the trial to train", PATIENCE_S, every=0.02)
    cluster.run("scancel", "--signal=KILL", f"{job}.1")
    facts = cluster.wait_ended(job, PATIENCE_S)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "1"), laboratory.said(job)
    assert "ended with code 137: 1 of at most 3 requeues" in laboratory.said(job)
    (trial,) = Sweep.open(begun).trials()
    run = only_run(begun / "trial-0000")
    assert trial.state == TrialState.COMPLETE
    assert run.checkpoint().load()["mien"]["world"] == len(NODES)
    assert sorted(trial.intermediate_values) == [20, 40]
    assert len(run.info["sessions"]) == 2


def test_a_trial_that_keeps_dying_is_given_up_and_the_next_one_taken(
    laboratory: Laboratory, file: Path, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    die = '[[ "$*" != *sweep-trial*trial-0000* ]] || kill -9 $$'
    python.write_text(f'#!/bin/bash\n{die}\nexec "{laboratory.cluster.env["MIEN_PYTHON"]}" "$@"\n')
    python.chmod(0o755)
    exports = f"--export=ALL,MIEN_PYTHON={python},MIEN_MAX_REQUEUES=1"
    keys = ("name=frail", "trials=2", "engine.max_steps=4")
    job = laboratory.cluster.submit(exports, str(LAUNCHER), file.name, *keys, cwd=laboratory.folder)
    facts = laboratory.cluster.wait_ended(job, PATIENCE_S)
    assert (facts["JobState"], facts["Restarts"]) == ("FAILED", "1"), laboratory.said(job)
    first, second = Sweep.open(laboratory.folder / "checkpoints" / "sweeps" / "frail").trials()
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert first.user_attrs["reason"] == "ended with code 137 2 times, no further each time"


def test_a_bad_sweep_is_said_in_one_line_and_not_requeued(laboratory: Laboratory, file: Path) -> None:
    job = laboratory.cluster.submit(
        f"--nodes={len(NODES)}", str(LAUNCHER), file.name, "name=bad", "engine.max_step=4",
        cwd=laboratory.folder,
    )  # fmt: skip
    facts = laboratory.cluster.wait_ended(job, PATIENCE_S)
    assert (facts["JobState"], facts["ExitCode"], facts["Restarts"]) == ("FAILED", "2:0", "0")
    assert "engine.max_step: unknown key; did you mean 'engine.max_steps'?" in laboratory.said(job)
    assert not (laboratory.folder / "checkpoints" / "sweeps" / "bad").exists()


def _hold(cluster: Cluster, begun: Path, count: int) -> set[int]:
    """Stop (SIGSTOP) so many trials once they have logged a step, or they might end before Slurm looks.

    Slurm lets them go on (SIGCONT) when it pre-empts them.
    """
    held: set[int] = set()

    def look() -> bool:
        for number in _training(begun) - held:
            who = json.loads((begun / "claims" / f"{number:04d}-00.trial").read_text())
            with contextlib.suppress(ProcessLookupError):
                os.kill(who["pid"], signal.SIGSTOP)
                held.add(number)
        return len(held) >= count

    cluster.wait(look, f"{count} trials to train", PATIENCE_S, every=0.02)
    return held


def _training(begun: Path) -> set[int]:
    """Trials that have logged a step and not their last one."""
    logged = {
        int(file.parts[-5].removeprefix("trial-")): re.findall(
            r"^(\d+),", file.read_text(), flags=re.MULTILINE
        )
        for file in begun.glob("trial-*/*/*/*/metrics.csv")
    }
    return {number for number, steps in logged.items() if steps and int(steps[-1]) < STEPS - 10}
