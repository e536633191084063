"""What a launcher asks of Slurm and what it starts, against golden files; recorders stand in for Slurm.

`MIEN_GOLDEN=write pytest tests/slurm/test_launch.py` writes the golden files anew: read the difference then.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cluster import clean_environment

from engine.runs import only_run

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = ROOT / "slurm" / "pretrain_emocapclip.sh"
SWEEP = ROOT / "slurm" / "sweep.sh"
FINETUNE = ROOT / "slurm" / "finetune_emocapclip.sh"
EDITORS = {name: ROOT / "slurm" / f"train_{name}.sh" for name in ("magicface", "rigface")}
GOLDEN = Path(__file__).parent / "golden"
SECRET = "not-a-real-key"
SHOWN = ("MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS", "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME")

_RECORDER = """#!/bin/bash
{{ printf '%s' "{name}"; printf ' %q' "$@"; echo; }} >>"$RECORD"
if [[ {name} == sacct ]]; then
    printf '%b\\n' "${{ACCOUNTS:-}}"
    exit
fi
if [[ {name} == srun && "$*" == *rank.sh* ]]; then
    rank=0
    for code in ${{CODES:-}}; do echo "$code" >"checkpoints/job-4711/.exit-codes/$((rank++))"; done
fi
[[ "$*" != *sweep-take* ]] || echo "$TAKEN"
if [[ {name} == srun || {name} == python ]]; then
    env | grep -E '^({shown})=' | sort >>"$RECORD"
    exit "${{STATUS:-0}}"
fi
case "$*" in
    *"show hostnames"*) printf 'node07\\nnode08\\n' ;;
    *"show node"*) echo "   NodeAddr=10.0.0.7 NodeHostName=node07 Version=24.11.1" ;;
    *"show job"*)
        echo "JobId=4711 JobState=${{STATE:-RUNNING}} PreemptTime=${{PREEMPTED:-None}}" \\
            "EndTime=${{ENDS:-Unknown}}"
        echo "   Command=$COMMAND args" ;;
esac
"""
BATCH = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NODELIST": "node[07-08]",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_NTASKS": "2",
}


@pytest.fixture
def launch(tmp_path: Path):
    """Runs the launcher with recorders in place of srun, scontrol and python; returns what they recorded.

    With `SLURM_JOB_ID` it is run as slurmd does: a copy called `slurm_script`, elsewhere.
    """
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("srun", "scontrol", "sacct", "python"):
        (tools / name).write_text(_RECORDER.format(name=name, shown="|".join(SHOWN)))
        (tools / name).chmod(0o755)
    record = tmp_path / "record"

    def run(*arguments: str, code: int = 0, launcher: Path = LAUNCHER, **variables: str) -> str:
        script = launcher
        if "SLURM_JOB_ID" in variables and "SLURM_STEP_ID" not in variables:
            script = tmp_path / "spool" / "slurm_script"
            script.parent.mkdir(exist_ok=True)
            script.write_text(launcher.read_text())
        record.write_text("")
        environment = {
            "PATH": f"{tools}:/usr/bin:/bin",
            "RECORD": str(record),
            "COMMAND": str(launcher),
            "WANDB_API_KEY": SECRET,
            "MIEN_PYTHON": str(tools / "python"),
        }
        done = subprocess.run(
            ["bash", str(script), *arguments],
            env=environment | variables, cwd=tmp_path, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        text = record.read_text() + done.stderr
        return text.replace(str(tools), "BIN").replace(str(ROOT), "HOME").replace(str(tmp_path), "TMP")

    return run


def test_directives_are_thin_and_reach_every_task():
    directives = re.findall(r"^#SBATCH (.*)", LAUNCHER.read_text(), flags=re.MULTILINE)
    _golden("directives", "\n".join(directives) + "\n")
    for other in (SWEEP, FINETUNE, *EDITORS.values()):
        directives += re.findall(r"^#SBATCH (.*)", other.read_text(), flags=re.MULTILINE)
    assert not any("B:" in directive for directive in directives), "a signal to the shell reaches no rank"


def test_facts_of_the_cluster_become_variables_of_sbatch(tmp_path):
    facts = {"PARTITION": "gpu", "ACCOUNT": "lab", "CONSTRAINT": "h100"}
    facts |= {"GPUS_PER_NODE": "8", "NOTICE_S": "300"}
    script = f'. {ROOT}/slurm/cluster.sh; env | grep -E "^(SBATCH_|.*IFNAME)" | sort'
    stated, default = (
        subprocess.run(
            ["bash", "-euc", script],
            env={"PATH": "/usr/bin:/bin"} | more,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for more in ({f"MIEN_{key}": value for key, value in facts.items()} | {"MIEN_INTERFACE": "ib0"}, {})
    )
    _golden("facts", f"stated:\n{stated}default:\n{default}")


def test_batch_job(launch):
    _golden("batch", launch("emocapclip/tiny", "engine.max_steps=7", "data.train.shards=a b", **BATCH))


def test_batch_job_without_a_recipe_trains_the_paper_s(launch):
    assert " HOME/recipes/emocapclip/base.yaml --resume " in launch("engine.max_steps=7", **BATCH)


def test_fine_tuning_is_launched_the_same_way(launch):
    told = launch("model.init_from=w.safetensors", launcher=FINETUNE, **BATCH)
    whole = launch("model.init_from=w.safetensors", **BATCH)
    assert " HOME/recipes/emocapclip_finetune/full.yaml --resume " in told
    whole = whole.replace("emocapclip/base", "emocapclip_finetune/full")
    assert told == whole.replace("pretrain", "finetune")


@pytest.mark.parametrize("name", EDITORS)
def test_editors_are_launched_the_same_way(launch, name):
    """Directives, a job, a job without a recipe, and the machine at hand."""
    script = EDITORS[name]
    asked = "".join(re.findall(r"^#SBATCH (.*\n)", script.read_text(), flags=re.MULTILINE))
    given = launch(f"{name}/tiny", "engine.max_steps=7", launcher=script, **BATCH)
    default = launch("seed=1", launcher=script, **BATCH)
    alone = launch(f"{name}/tiny", "--resume", launcher=script)
    _golden(name, f"{asked}{given}{default}{alone}")


@pytest.mark.parametrize("nodes", [1, 4])
def test_batch_job_takes_a_recipe_of_paper_scale_on_any_nodes(launch, nodes):
    """Its nodes and GPUs are those of the job, so that one recipe runs on other numbers, too."""
    job = BATCH | {"SLURM_JOB_NUM_NODES": str(nodes), "SLURM_NTASKS": str(8 * nodes)}
    told = launch(f"emocapclip/paper/l14-{8 * nodes}gpu", **job)
    wanted = f"mien train emocapclip/paper/l14-{8 * nodes}gpu --resume engine.nodes=auto engine.devices=auto "
    assert wanted in told


def test_batch_job_with_gpus_in_a_container(launch):
    facts = {
        "SLURM_NTASKS": "16",
        "SLURM_CPUS_PER_TASK": "12",
        "MIEN_CONTAINER": "apptainer exec --nv mien.sif",
        "MIEN_SRUN_FLAGS": "--cpu-bind=cores",
        "MIEN_INTERFACE": "ib0",
        "MIEN_NOTICE_S": "300",
    }
    _golden("container", launch("emocapclip/base", **(BATCH | facts)))


def test_array_tasks_train_other_seeds_in_other_folders(launch):
    array = BATCH | {"SLURM_ARRAY_JOB_ID": "4700"}
    told = [launch("emocapclip/tiny", "seed=9", **array, SLURM_ARRAY_TASK_ID=task) for task in ("0", "3")]
    _golden("array", "".join(told))


def test_array_task_takes_its_line_of_a_sweep(launch, tmp_path):
    sweep = tmp_path / "sweep.txt"
    sweep.write_text("engine.optimizer.lr=1e-3\nengine.optimizer.lr=3e-4 seed=2\n")
    array = BATCH | {"SLURM_ARRAY_JOB_ID": "4700", "MIEN_SWEEP": str(sweep)}
    told = launch("emocapclip/tiny", "run.root=runs", **array, SLURM_ARRAY_TASK_ID="1")
    assert " run.root=runs run.root=runs/task-1 engine.optimizer.lr=3e-4 seed=2\n" in told
    told = launch("emocapclip/tiny", **array, SLURM_ARRAY_TASK_ID="2", code=2)
    assert "sweep.txt: no line 3; use sbatch --array=0-1" in told
    assert "srun" not in told


def test_bash_on_one_machine_needs_no_slurm(launch):
    _golden("bash", launch("emocapclip/tiny", "engine.max_steps=7"))


def test_bash_trains_on_this_machine(lesson: Path, tmp_path: Path) -> None:
    command = ["bash", str(LAUNCHER), "tiny.yaml", f"run.root={tmp_path}", "engine.max_steps=20"]
    done = subprocess.run(
        command, env=clean_environment() | {"MIEN_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        cwd=lesson, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = only_run(tmp_path)
    assert done.stdout.splitlines()[-1] == str(run.path)
    assert len(list(run.path.glob("samples-rank*.csv"))) == 1
    assert run.checkpoint().step == 20


def test_bash_inside_a_step_is_one_machine(launch):
    told = launch("emocapclip/tiny", **BATCH, SLURM_STEP_ID="0")
    assert told == "python -u -m mien train emocapclip/tiny\n"


def test_bash_in_the_shell_of_salloc_takes_the_allocation(launch):
    told = launch("emocapclip/tiny", **BATCH, SLURM_STEP_ID="4294967290")
    assert "\nsrun --kill-on-bad-exit=1 " in told


def test_flags_of_mien_may_stand_where_the_recipe_would(launch):
    assert launch("--resume") == "python -u -m mien train HOME/recipes/emocapclip/base.yaml --resume\n"


@pytest.mark.parametrize(
    ("code", "state", "preempted", "requeued"),
    [
        (0, "RUNNING", "None", False),
        (1, "RUNNING", "None", True),
        (2, "RUNNING", "2026-11-24T20:30:01", False),
        (130, "RUNNING", "None", False),
        (137, "RUNNING", "None", True),
        (137, "CANCELLED", "None", False),
        (138, "RUNNING", "None", True),
        (140, "RUNNING", "2026-11-24T20:30:01", True),
        (138, "COMPLETING", "None", False),
        (143, "RUNNING", "2026-11-24T20:30:01", True),
        (143, "RUNNING", "None", False),
        (143, "CANCELLED", "2026-11-24T20:30:01", False),
    ],
)
def test_requeues_what_was_told_to_stop_or_died_but_no_bad_input_and_nothing_unwanted(
    launch, code, state, preempted, requeued
):
    told = launch(**BATCH, code=code, STATUS=str(code), STATE=state, PREEMPTED=preempted)
    assert ("scontrol requeue 4711\n" in told) is requeued


def test_a_job_that_dies_is_requeued_with_a_bound_that_progress_lifts(launch, tmp_path):
    def dies(**more: str) -> bool:
        return "scontrol requeue 4711\n" in launch(**BATCH, **more, code=1, STATUS="1")

    assert [dies() for _ in range(5)] == [True, True, True, False, False]
    notice = launch(**BATCH, code=138, STATUS="138")
    assert "scontrol requeue 4711\n" in notice  # a notice does not count, and none is too many
    (tmp_path / "checkpoints/job-4711/emocapclip/base/RUN/checkpoints/step-00000500").mkdir(parents=True)
    assert [dies() for _ in range(4)] == [True, True, True, False]
    (tmp_path / "checkpoints/job-4711/emocapclip/base/RUN/checkpoints/step-00000500").rename(
        tmp_path / "checkpoints/job-4711/emocapclip/base/RUN/checkpoints/step-00000400"
    )
    assert not dies()  # a checkpoint that turned out bad is no progress
    assert dies(MIEN_MAX_REQUEUES="9")
    assert (tmp_path / "checkpoints/job-4711/failures").read_text() == "step-00000500 6\n"


def test_a_node_that_fails_counts_where_slurm_keeps_accounts(launch, tmp_path):
    accounts = {"SLURM_RESTART_COUNT": "1", "ACCOUNTS": "NODE_FAIL\nRUNNING"}
    for count in (1, 2, 3):
        assert "\nsrun " in launch(**BATCH, **accounts)
        assert (tmp_path / "checkpoints/job-4711/failures").read_text() == f"none {count}\n"
    assert "srun " not in launch(**BATCH, **accounts, code=1)
    assert "\nsrun " in launch(**BATCH, SLURM_RESTART_COUNT="9", ACCOUNTS="PREEMPTED\nRUNNING")


def test_the_code_of_the_rank_that_failed_counts_not_what_the_others_were_ended_with(launch, tmp_path):
    for codes, code, requeued in (
        ("143 2 137", 2, False),
        ("143 138 137", 138, True),
        ("143 137", 137, True),
        ("0 143", 143, False),
    ):
        told = launch(**BATCH, code=code, STATUS="143", CODES=codes)
        assert ("scontrol requeue 4711\n" in told) is requeued
    assert not (tmp_path / "checkpoints/job-4711/.exit-codes").exists()


def test_requeues_its_own_task_of_an_array(launch):
    told = launch(**BATCH, SLURM_ARRAY_JOB_ID="4711", SLURM_ARRAY_TASK_ID="3", code=138, STATUS="138")
    assert "scontrol requeue 4711_3\n" in told


def test_a_copy_that_cannot_be_traced_back_falls_back_to_where_it_was_submitted(launch):
    told = launch("emocapclip/tiny", **BATCH, COMMAND="(null)", SLURM_SUBMIT_DIR=str(ROOT))
    assert "\nsrun --kill-on-bad-exit=1 " in told


def test_a_task_of_a_sweep_takes_a_trial_and_begins_no_other_when_its_time_is_nearly_up(launch, tmp_path):
    trial = tmp_path / "sweeps" / "x" / "trial-0002"
    trial.mkdir(parents=True)
    (trial / "done").touch()
    soon = (datetime.now() + timedelta(seconds=60)).isoformat(timespec="seconds")
    array = {"SLURM_ARRAY_JOB_ID": "4700", "SLURM_ARRAY_TASK_ID": "3"}
    taken = {"TAKEN": f"{trial} 1", "ENDS": soon}
    _golden("sweep", launch("x.yaml", "trials=4", launcher=SWEEP, **BATCH, **array, **taken))


def test_a_task_of_a_sweep_that_finds_nothing_left_is_done(launch):
    told = launch("x.yaml", launcher=SWEEP, **BATCH, TAKEN="")
    assert told.count("srun ") == 1
    assert "requeue" not in told


def test_a_sweep_without_slurm_is_the_command(launch):
    assert launch("x.yaml", "trials=4", launcher=SWEEP) == "python -u -m mien sweep x.yaml trials=4\n"
    assert "which sweep?" in launch(launcher=SWEEP, code=2)


def test_no_secret_on_a_command_line(launch):
    assert SECRET not in launch("emocapclip/tiny", **BATCH)


def _golden(name: str, text: str) -> None:
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("MIEN_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()
