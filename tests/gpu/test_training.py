"""`mien train` on a real card: a killed run goes on to the same bits, and learns in bf16."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mien.engine.rundir import RunFolder
from mien.faults.compare import differences, only_run, samples, state
from mien.faults.sets import write_set

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
STEPS = 40


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    return write_set(root / "train", 96), write_set(root / "val", 20, seed=1, first_uid=5000)


def start(sets, root: Path, *more: str) -> subprocess.Popen[bytes]:
    own = (
        "engine.accelerator=cuda", "engine.deterministic=true", f"data.train.shards={sets[0]}",
        f"data.val.shards={sets[1]}", f"run.root={root}", f"engine.max_steps={STEPS}", "engine.val_every=20",
        "engine.checkpoint_every=5", "engine.global_batch=16", "engine.schedule.warmup=4",
        "engine.log_every=1", "data.log_samples=true", "tracking.wandb=off", "model.image_size=32",
    )  # fmt: skip
    root.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    command = [sys.executable, "-m", "mien", "train", "emocapclip/tiny", "--resume", *own, *more]
    with (root / "log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def finished(sets, root: Path, *more: str) -> RunFolder:
    assert start(sets, root, *more).wait() == 0, (root / "log").read_text()[-4000:]
    return only_run(root)


def step_of(root: Path) -> int:
    names = [path.name for path in root.glob("*/*/*/checkpoints/*") if (path / "manifest.json").exists()]
    return max((int("".join(filter(str.isdigit, name)) or 0) for name in names), default=0)


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_a_killed_run_goes_on_to_the_same_bits(sets, tmp_path, precision):
    more = (f"engine.precision={precision}",)
    whole = finished(sets, tmp_path / "whole", *more)
    cut = start(sets, tmp_path / "cut", *more)
    while step_of(tmp_path / "cut") < 10:
        assert cut.poll() is None, (tmp_path / "cut" / "log").read_text()[-4000:]
        time.sleep(0.02)
    cut.send_signal(signal.SIGKILL)
    assert cut.wait() == -signal.SIGKILL
    resumed = finished(sets, tmp_path / "cut", *more)
    assert len(resumed.info["sessions"]) == 2
    assert differences(state(resumed), state(whole)) == []
    assert samples(resumed) == samples(whole)


def test_bf16_learns_what_float32_learns(sets, tmp_path):
    found = {}
    for precision in ("32", "bf16"):
        run = finished(
            sets, tmp_path / precision, f"engine.precision={precision}", "engine.optimizer.lr=1e-4"
        )
        with (run.path / "metrics.csv").open() as file:
            losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
        assert len(losses) == STEPS
        found[precision] = torch.tensor(losses[:20])
    assert not found["32"].equal(found["bf16"])
    torch.testing.assert_close(found["bf16"], found["32"], rtol=0.03, atol=0)
