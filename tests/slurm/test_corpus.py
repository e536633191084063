"""What the launcher of the corpus builder starts; recorders stand in for Slurm."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = ROOT / "slurm" / "corpus_emocap.sh"
BUILD = "-u -m mien data emocap build"
ARRAY = {
    "SLURM_JOB_ID": "4712",
    "SLURM_ARRAY_JOB_ID": "4711",
    "SLURM_ARRAY_TASK_ID": "5",
    "SLURM_ARRAY_TASK_MIN": "2",
    "SLURM_ARRAY_TASK_COUNT": "8",
    "SLURM_CPUS_PER_TASK": "8",
}
_RECORDER = """#!/bin/bash
[[ {name} != scontrol || $1 != show ]] || {{ echo "JobId=1 Command=$COMMAND args"; exit; }}
echo "{name} $*" >>"$RECORD"
[[ {name} != srun ]] || exit "${{STATUS:-0}}"
"""

Launch = Callable[..., str]


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Runs the launcher as slurmd does, from a copy elsewhere; returns what srun, scontrol and python got."""
    for name in ("srun", "scontrol", "python"):
        (tmp_path / name).write_text(_RECORDER.format(name=name))
        (tmp_path / name).chmod(0o755)
    script = tmp_path / "slurm_script"
    script.write_text(LAUNCHER.read_text())

    def run(*arguments: str, code: int = 0, **variables: str) -> str:
        record = tmp_path / "record"
        record.write_text("")
        surroundings = {"PATH": f"{tmp_path}:/usr/bin:/bin", "RECORD": str(record), "COMMAND": str(LAUNCHER)}
        surroundings["MIEN_PYTHON"] = str(tmp_path / "python")
        words = ["bash", str(script if variables else LAUNCHER), *arguments]
        done = subprocess.run(
            words, env=surroundings | variables, cwd=tmp_path, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == code, done.stderr
        return record.read_text().replace(f"{tmp_path}/", "") + done.stderr

    return run


def test_a_task_of_an_array_takes_its_share(launch: Launch) -> None:
    told = launch("movies", "out", "--exclude", "titles with spaces.txt", **ARRAY)
    assert told == (
        f"srun --nodes=1 --ntasks=1 --cpus-per-task=8 python {BUILD} --jobs 8 --part 3/8 "
        "movies out --exclude titles with spaces.txt\n"
    )


def test_a_job_without_array_does_the_whole(launch: Launch) -> None:
    told = launch("movies", "out", SLURM_JOB_ID="4713")
    assert told == f"srun --nodes=1 --ntasks=1 python {BUILD} --jobs 1 movies out\n"


def test_a_notice_requeues_the_task_and_a_bad_input_does_not(launch: Launch) -> None:
    assert launch("movies", "out", STATUS="138", **ARRAY).endswith("scontrol requeue 4711_5\n")
    assert "requeue" not in launch("movies", "out", STATUS="2", code=2, **ARRAY)


def test_outside_slurm_it_is_the_command(launch: Launch) -> None:
    assert launch("movies", "out") == f"python {BUILD} movies out\n"
    assert "which movies" in launch("movies", code=2)
