"""Claims: one holder at a time, lost by the dead, kept by the living and by jobs that wait in the queue."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mien.errors import RunError
from mien.sweep import claims
from mien.sweep.claims import Claims


def _of_dead_process() -> dict[str, object]:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    who = {"host": claims.host(), "pid": child.pid, "born": claims.process_birth(child.pid)}
    child.wait()
    return who


def test_of_many_at_once_one_gets_the_trial(tmp_path: Path) -> None:
    desks = [Claims(tmp_path) for _ in range(16)]
    start, got = threading.Barrier(16), []

    def go(desk: Claims) -> None:
        start.wait()
        got.append(desk.take(3, claims.process()))

    threads = [threading.Thread(target=go, args=(desk,)) for desk in desks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(claim is not None for claim in got) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["0003-00.json"]


def test_a_dead_process_loses_its_trial_and_a_living_one_does_not(tmp_path: Path) -> None:
    desk = Claims(tmp_path)
    assert desk.take(0, _of_dead_process())
    after = desk.take(0, claims.process())
    assert after is not None
    assert after.generation == 1
    assert desk.take(0, claims.process()) is None
    desk.free(after)
    again = desk.take(0, claims.process())
    assert again is not None
    assert again.generation == 2


def test_a_trial_that_still_trains_keeps_the_claim_of_its_dead_worker(tmp_path: Path) -> None:
    desk = Claims(tmp_path)
    claim = desk.take(0, _of_dead_process())
    assert claim is not None
    desk.enter(0, claim.generation)  # this process trains it
    assert desk.take(0, _of_dead_process()) is None


def test_a_process_whose_claim_was_taken_over_may_not_begin(tmp_path: Path) -> None:
    desk = Claims(tmp_path)
    desk.take(0, _of_dead_process())
    desk.take(0, claims.process())
    with pytest.raises(RunError, match="another worker has taken this trial over"):
        desk.enter(0, 0)
    assert not desk.counts(0, 0)
    assert desk.counts(0, 1)


@pytest.mark.parametrize(("queued", "lost"), [(True, False), (None, False), (False, True)])
def test_a_job_keeps_its_trial_while_it_is_queued_or_nobody_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queued: bool | None, lost: bool
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    desk = Claims(tmp_path, queued=lambda job: queued)
    mine, other = ({**claims.process(), "job": job} for job in ("47_1", "47_2"))
    first = desk.take(0, mine)
    assert first is not None
    assert desk.take(0, mine) == first  # its own, after a requeue
    assert desk.take(0, other) is None
    assert desk.held(first) is (None if lost else True)
    assert desk.held(first, patience=0) is not lost
    now += claims.GONE_S + 1
    assert (desk.take(0, other) is not None) is lost


def test_a_job_that_slurm_loses_sight_of_while_it_is_requeued_keeps_its_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    queued = True
    monkeypatch.setattr(time, "monotonic", lambda: now)
    desk = Claims(tmp_path, queued=lambda job: queued)
    assert desk.take(0, {**claims.process(), "job": "47_1"}) is not None
    for _ in range(3):  # however often: each time counts anew
        for queued in (False, True):  # noqa: B007 - the desk asks for it
            assert desk.take(0, {**claims.process(), "job": "47_2"}) is None
            now += claims.GONE_S - 1


def test_a_worker_elsewhere_lives_by_its_beat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "time", lambda: 0.0)  # a clock that lies frees nothing
    theirs, mine = Claims(tmp_path), Claims(tmp_path)
    claim = theirs.take(0, {"host": "elsewhere", "pid": 1, "born": 2})
    assert claim is not None
    theirs.beat(claim)
    for _ in range(3):
        now += claims.LEASE_S - 1
        assert mine.held(claim) is not False
        theirs.beat(claim)
    assert mine.held(claim) is True
    now += claims.LEASE_S + 1
    assert mine.take(0, claims.process()) is not None


def test_slurm_that_cannot_be_asked_is_not_a_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert claims.in_queue("47_1") is None
    answers = {"RUNNING": True, "PREEMPTED": True, "COMPLETED": False, "CANCELLED": False, "": False}
    for told, code, known in ((told, 0, known) for told, known in answers.items()):
        tool = tmp_path / "squeue"
        tool.write_text(f"#!{sys.executable}\nimport sys\nsys.stdout.write('{told}')\nsys.exit({code})\n")
        tool.chmod(0o755)
        assert claims.in_queue("47_1") is known
    tool.write_text(
        f"#!{sys.executable}\nimport sys\nsys.exit('slurm_load_jobs error: Invalid job id specified')\n"
    )
    assert claims.in_queue("47_1") is False
    tool.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('Unable to contact slurm controller')\n")
    assert claims.in_queue("47_1") is None
    assert os.environ["PATH"] == str(tmp_path)
