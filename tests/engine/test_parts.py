"""Parts of the engine by themselves."""

from __future__ import annotations

import io
import itertools
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from rich.console import Console

from mien import optim
from mien.engine import progress, rng, tracking, trainer, wandb_sink
from mien.engine.agree import Agreement
from mien.engine.config import EngineConfig, OptimizerConfig, ScheduleConfig, TrackingConfig
from mien.engine.meters import TimedStream, Window
from mien.engine.rundir import truncate_lines
from mien.engine.trainer import resolve
from mien.errors import RunError

ENGINE = {"max_steps": 10, "global_batch": 32}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"accumulate": 5}, "multiple of accumulate"),
        ({"devices": 3, "nodes": 1}, "multiple of accumulate x devices x nodes = 3"),
        ({"schedule": {"warmup": 11}}, "longer than max_steps"),
        ({"signals": ["SIGKILL"]}, "cannot be a stop signal"),
        ({"best": {"metric": "val/loss"}}, "without `val/`"),
        ({"keep_last": 1}, "greater than or equal to 2"),
        ({"devices": 0}, "at least 1"),
        ({"optimizer": {"betas": [0.9, 1.0]}}, "betas"),
        ({"ema": 1.0}, "less than 1"),
    ],
)
def test_impossible_settings_are_named(keys: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        EngineConfig.model_validate(ENGINE | keys)


def test_what_yaml_makes_of_bare_words_is_understood() -> None:
    assert EngineConfig.model_validate(ENGINE | {"precision": 32}).precision == "32"
    assert TrackingConfig.model_validate({"wandb": False}).wandb == "off"


@pytest.mark.parametrize(
    ("keys", "environment", "shape"),
    [
        ({}, {}, (1, 1)),
        ({"devices": 4}, {}, (4, 1)),
        ({}, {"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "3"}, (4, 2)),
        ({}, {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8"}, (1, 1)),
        ({}, {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, (4, 2)),
    ],
)
def test_the_shape_follows_the_launcher(keys: dict, environment: dict, shape: tuple[int, int]) -> None:
    found = resolve(EngineConfig(**ENGINE, accelerator="cpu", **keys), environment)
    assert (found.devices, found.nodes) == shape
    assert found.world == shape[0] * shape[1]


@pytest.mark.parametrize(
    ("keys", "environment", "said"),
    [
        ({"devices": 2}, {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4"}, "started 4 processes"),
        ({}, {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "3"}, "do not divide"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(keys: dict, environment: dict, said: str) -> None:
    with pytest.raises(RunError, match=said):
        resolve(EngineConfig(**ENGINE, accelerator="cpu", **keys), environment)


def test_a_missing_gpu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer.torch.cuda, "is_available", lambda: False)
    with pytest.raises(RunError, match="no CUDA device"):
        resolve(EngineConfig(**ENGINE, accelerator="cuda"), {})


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_generators_come_back_through_a_file(tmp_path: Path) -> None:
    rng.seed(3, rank=1)
    random.gauss(0, 1)
    torch.save(rng.state(), tmp_path / "rng.pt")
    expected = draw()
    rng.seed(4)
    assert draw() != expected
    rng.restore(torch.load(tmp_path / "rng.pt", weights_only=True))
    assert draw() == expected


def test_generators_differ_by_seed_rank_and_step() -> None:
    found = set()
    for seed, rank, step in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
        rng.seed(seed, rank=rank, step=step)
        found.add(draw())
    assert len(found) == 4
    rng.seed(0)
    with rng.preserved():
        draw()
    assert draw() in found


def test_the_schedule_is_a_closed_form() -> None:
    config = ScheduleConfig(kind="cosine", warmup=4, final=0.1)
    rates = [optim.factor(step, 10, config) for step in range(12)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[7] == pytest.approx(0.55)
    assert rates[10] == rates[11] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[4:]))
    assert optim.factor(9, 10, ScheduleConfig(kind="constant")) == 1.0


def test_groups_decay_and_learn_as_told() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3))
    net[0].bias.requires_grad_(False)
    found = optim.adamw(optim.decay_groups(net, lr_scale=2.0), OptimizerConfig(lr=0.5, weight_decay=0.3))
    assert [(group["lr"], group["weight_decay"]) for group in found.param_groups] == [(1.0, 0.3), (1.0, 0.0)]
    assert [len(group["params"]) for group in found.param_groups] == [1, 2]
    schedule = optim.scheduler(found, 10, ScheduleConfig(kind="constant", warmup=4))
    assert found.param_groups[0]["lr"] == 0.25
    found.param_groups[0]["lr"] = 7.0
    optim.refresh(schedule)
    assert found.param_groups[0]["lr"] == 0.25


def test_the_window_averages_what_was_kept() -> None:
    window = Window()
    for value, kept in ((1.0, True), (99.0, False), (2.0, True)):
        window.add({"a": torch.tensor(value), "b": value})
        window.keep_step() if kept else window.drop_step()
    assert window.state_dict() == {"a": [3.0, 2], "b": [3.0, 2]}
    other = Window()
    other.load_state_dict(window.state_dict())
    assert other.state_dict() == window.state_dict()
    window.clear()
    assert window.state_dict() == {}


def test_closing_a_timed_stream_ends_its_generator() -> None:
    ended = []

    def numbers():
        try:
            yield from range(5)
        finally:
            ended.append(True)

    stream = TimedStream(numbers())
    assert next(iter(stream)) == 0
    stream.close()
    assert ended == [True]


def test_one_process_agrees_with_itself() -> None:
    alone = Agreement()
    assert alone.highest(3, 1) == [3, 1]
    assert alone.total([1.5]) == [1.5]
    assert alone.gather("x") == ["x"]
    assert alone.share("x") == "x"


def test_a_log_is_cut_back_and_mended(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("step,x\n1,a\n2,b\n3,c\n4,")
    assert truncate_lines(file, lambda line: int(line[0]) <= 2) == 2
    assert file.read_text() == "step,x\n1,a\n2,b\n"
    assert truncate_lines(tmp_path / "absent", lambda line: False) == 0


def test_metrics_grow_columns_and_rewind(tmp_path: Path) -> None:
    file = tracking.MetricsFile(tmp_path / "metrics.csv")
    assert file.last() == {}
    file.append(1, {"a": 1.0})
    file.append(2, {"a": 0.1, "b": float("nan")})
    file.append(3, {"b": 3.0})
    assert file.path.read_text() == "step,a,b\n1,1,\n2,0.1,nan\n3,,3\n"
    again = tracking.MetricsFile(file.path)
    again.rewind(2)
    assert again.last() == pytest.approx({"step": 2, "a": 0.1, "b": math.nan}, nan_ok=True)
    again.append(3, {"c": 1.0})
    assert again.last() == {"step": 3, "c": 1.0}
    assert file.path.read_text() == "step,a,b,c\n1,1,,\n2,0.1,nan,\n3,,,1\n"


@pytest.mark.parametrize(
    ("wanted", "environment", "found"),
    [
        ("auto", {}, "offline"),
        ("auto", {"WANDB_API_KEY": "x"}, "online"),
        ("auto", {"WANDB_API_KEY": "x", "WANDB_MODE": "offline"}, "offline"),
        ("auto", {"WANDB_MODE": "disabled"}, "off"),
        ("off", {"WANDB_API_KEY": "x"}, "off"),
        ("offline", {"WANDB_API_KEY": "x"}, "offline"),
    ],
)
def test_tracking_is_offline_without_a_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wanted: str, environment: dict, found: str
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no .netrc
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wandb_sink.mode(wanted) == found
    if wanted == "auto" and not environment:
        (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password key\n")
        (tmp_path / ".netrc").chmod(0o600)
        assert wandb_sink.mode(wanted) == "online"


ROW = {"train/loss": 1.5, "train/lr": 0.1, "perf/samples_per_s": 320.0, "perf/step_s": 0.1}


def test_a_row_shows_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = progress.Reporter("emocapclip/tiny", 0, 700, shown=True)
    reporter.row(100, ROW)
    reporter.close()
    said = capsys.readouterr().out
    assert said == "emocapclip/tiny  step 100/700  loss 1.5  lr 0.1  320 samples/s  0:01:00 left\n"
    silent = progress.Reporter("emocapclip/tiny", 0, 700, shown=False)
    silent.row(100, ROW)
    silent.say("nothing")
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(
        progress, "Console", lambda **keys: Console(file=out, force_terminal=True, width=150, **keys)
    )
    reporter = progress.Reporter("emocapclip/tiny", 70, 700, shown=True)
    reporter.step(140)
    reporter.row(140, ROW)
    reporter.close()
    assert "20%" in out.getvalue()
    assert "320 samples/s  0:00:56 left" in out.getvalue()
