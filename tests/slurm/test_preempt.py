"""Jobs on a real cluster of two nodes: pre-empted or out of time, each ends as the undisturbed one does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from cluster import NODES
from laboratory import LAUNCHER, PATIENCE_S, STEPS, Laboratory

from engine.runs import differences, last_step, learned, only_run, samples, state
from mien.engine.rundir import RunFolder

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="session")
def undisturbed(laboratory: Laboratory) -> RunFolder:
    """A run on both nodes that nothing disturbs."""
    return laboratory.finish(laboratory.submit())


def _same(run: RunFolder, reference: RunFolder) -> None:
    """Same weights and optimiser bit by bit, same losses, same samples, each once."""
    assert differences(state(run), state(reference)) == []
    assert learned(run) == learned(reference)
    assert [position for _, position, *_ in samples(run)] == list(range(STEPS * 16))
    assert samples(run) == samples(reference)


def test_a_job_trains_across_both_nodes(laboratory: Laboratory, undisturbed: RunFolder) -> None:
    assert len(undisturbed.info["sessions"]) == 1
    assert undisturbed.checkpoint().load()["mien"]["world"] == len(NODES)
    assert len(list(undisturbed.path.glob("samples-rank*.csv"))) == len(NODES)
    assert [position for _, position, *_ in samples(undisturbed)] == list(range(STEPS * 16))


def test_pre_empted_jobs_are_requeued_and_end_as_if_nothing_had_been(
    laboratory: Laboratory, undisturbed: RunFolder
) -> None:
    cluster = laboratory.cluster
    warned, killed = laboratory.submit(wandb="offline"), laboratory.submit("--partition=scavenge")
    for job in (warned, killed):
        laboratory.hold(job)
    urgent = laboratory.pre_empt()
    for job in (warned, killed):
        run = laboratory.finish(job)
        facts, before = cluster.job(job), cluster.job(urgent)
        assert facts["Restarts"] == "1"
        assert facts["NodeList"] == f"n[1-{len(NODES)}]"
        assert before["JobState"] == "COMPLETED"
        assert before["EndTime"] <= facts["StartTime"]
        assert len(run.info["sessions"]) == 2
        _same(run, undisturbed)
    run = only_run(laboratory.root(warned))
    tracked = [folder.name.split("-")[3] for folder in run.path.glob("wandb/offline-run-*")]
    assert set(tracked) == {run.info["wandb_id"]}
    # One a session; more where the signal met W&B's helper while it started: a later row starts another.
    assert len(tracked) >= 2
    assert "Exception in thread" not in laboratory.said(warned)
    stopped = re.search(r"stopped by SIGTERM after step (\d+); the job is requeued", laboratory.said(warned))
    assert stopped, laboratory.said(warned)
    assert 0 < int(stopped[1]) < STEPS
    assert "the job is requeued" not in laboratory.said(killed)  # Slurm had done that


def test_of_an_array_the_task_out_of_time_is_requeued_and_the_cancelled_one_is_not(
    laboratory: Laboratory, undisturbed: RunFolder
) -> None:
    cluster = laboratory.cluster
    array = laboratory.submit("--array=0-1", wandb="offline")
    late, unwanted = f"{array}_0", f"{array}_1"
    first = laboratory.hold(late)
    hours, minutes, _ = cluster.job(late)["RunTime"].split(":")
    cluster.run("scontrol", "update", f"JobId={late}", f"TimeLimit={int(hours) * 60 + int(minutes) + 2}")

    second = laboratory.hold(unwanted)
    assert (first.recipe.seed, second.recipe.seed) == (0, 1)
    laboratory.let_go(unwanted)
    cluster.run("scancel", unwanted)
    assert cluster.wait_ended(unwanted, PATIENCE_S)["JobState"] == "CANCELLED"
    assert second.info["state"] == "stopped"
    assert 0 < second.checkpoint().step < STEPS

    # Slurm looks at time limits twice a minute.
    cluster.wait(lambda: cluster.job(late)["Restarts"] == "1", f"job {late} to be requeued", PATIENCE_S)
    cluster.run("scontrol", "update", f"JobId={late}", "TimeLimit=60")
    run = laboratory.finish(late)
    assert "stopped by SIGUSR1 after step" in laboratory.said(late)
    assert "W&B cannot" not in laboratory.said(late)  # its helper got the notice, too
    assert len(run.info["sessions"]) == 2
    _same(run, undisturbed)
    assert cluster.job(unwanted)["Restarts"] == "0"


def test_a_job_whose_rank_is_killed_and_then_hangs_is_requeued_and_ends_as_if_nothing_had_been(
    laboratory: Laboratory, undisturbed: RunFolder
) -> None:
    cluster = laboratory.cluster
    job = laboratory.submit("--export=ALL,MIEN_MAX_REQUEUES=2", "engine.hang_s=12")
    for restarts, signum in ((1, signal.SIGKILL), (2, signal.SIGSTOP)):
        sessions = lambda: [info for run in _runs(laboratory, job) for info in run.info["sessions"]]  # noqa: E731
        cluster.wait(lambda: len(sessions()) == restarts, f"session {restarts}", PATIENCE_S, every=0.02)  # noqa: B023
        run = only_run(laboratory.root(job))
        began = last_step(laboratory.root(job))
        cluster.wait(lambda: last_step(laboratory.root(job)) > began, "a step", PATIENCE_S, every=0.02)  # noqa: B023
        os.kill(sessions()[-1]["pid"], signum)
        cluster.wait(lambda: cluster.job(job)["Restarts"] == str(restarts), "the requeue", PATIENCE_S)  # noqa: B023
    run = laboratory.finish(job)
    assert "ended with code 137: 1 of at most 2 requeues" in laboratory.said(job)
    assert (run.path / "stacks-rank1.txt").exists()
    _same(run, undisturbed)


def test_a_job_that_always_dies_is_given_up_and_a_bad_input_at_once(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    cluster = laboratory.cluster
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nexit 1\n")
    dying.chmod(0o755)
    dead = laboratory.submit(f"--export=ALL,MIEN_PYTHON={dying},MIEN_MAX_REQUEUES=1")
    bad = laboratory.submit("engine.max_step=3")
    facts = cluster.wait_ended(bad, PATIENCE_S)
    assert (facts["JobState"], facts["Restarts"]) == ("FAILED", "0")
    assert "did you mean 'engine.max_steps'?" in laboratory.said(bad)
    assert not laboratory.root(bad).exists()
    facts = cluster.wait_ended(dead, PATIENCE_S)
    assert (facts["JobState"], facts["Restarts"]) == ("FAILED", "1"), laboratory.said(dead)
    assert "given up (MIEN_MAX_REQUEUES)" in laboratory.said(dead)


def _runs(laboratory: Laboratory, job: str) -> list[RunFolder]:
    return [RunFolder(file.parent) for file in laboratory.root(job).glob("*/*/*/run.json")]


def test_a_notice_before_mien_listens_requeues_the_job(laboratory: Laboratory, tmp_path: Path) -> None:
    slow = tmp_path / "python"
    slow.write_text('#!/bin/sh\n[ "${SLURM_RESTART_COUNT:-0}" = 1 ] && exit 0\ntouch here\nexec sleep 60\n')
    slow.chmod(0o755)
    job = laboratory.submit(f"--export=ALL,MIEN_PYTHON={slow}")
    cluster = laboratory.cluster
    cluster.wait((laboratory.folder / "here").exists, "the step", PATIENCE_S)
    cluster.run("scancel", "--signal=USR1", job)
    facts = cluster.wait_ended(job, PATIENCE_S)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "1"), laboratory.said(job)


def test_what_is_asked_of_sbatch_fits_the_cluster(laboratory: Laboratory) -> None:
    for partition in ("train", "urgent"):
        script = '. "${1%/*}/cluster.sh"; exec sbatch --test-only "$@"'
        done = subprocess.run(
            ["bash", "-euc", script, "bash", str(LAUNCHER), "tiny.yaml"],
            env=laboratory.cluster.env | {"MIEN_PARTITION": partition},
            cwd=laboratory.folder, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f"using 2 processors on nodes n[1-2] in partition {partition}" in done.stderr
