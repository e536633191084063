"""TensorBoard's files and MLflow's database, and what a tracker that is away costs: nothing."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from mien import recipe as recipes
from mien.engine import patient as patience
from mien.engine import wandb_sink
from mien.engine.patient import Patient
from mien.engine.rundir import RunFolder
from mien.engine.trackers import open_sinks
from mien.errors import RunError

from .processes import Session
from .runs import last_step, metrics, only_run, overrides
from .tracked import tracked_kinds, tracked_rows


def scalars(run: RunFolder, name: str) -> dict[int, float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(name)}


def test_both_have_every_row_of_a_run_that_was_stopped_and_went_on(
    sets: dict[str, Path], tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    keys = overrides(
        sets, tmp_path, "tracking.tensorboard=true", f"tracking.mlflow={uri}", "tracking.project=faces"
    )
    first = Session([*keys, "engine.max_steps=8"], tmp_path / "one.log")
    assert first.wait() == 0, first.said()
    again = Session([*keys, "engine.max_steps=14"], tmp_path / "two.log", resume=True)
    assert again.wait() == 0, again.said()
    run = only_run(tmp_path)
    rows = {int(row["step"]): row["train/loss"] for row in metrics(run)}
    assert list(rows) == list(range(1, 15))
    assert scalars(run, "train/loss") == pytest.approx(rows, rel=1e-6)

    client = MlflowClient(tracking_uri=uri)
    (found,) = client.search_runs([client.get_experiment_by_name("faces").experiment_id])
    assert found.info.run_id == run.info["mlflow_id"]
    assert found.info.status == "FINISHED"
    assert found.data.params["engine.global_batch"] == "16"
    history = client.get_metric_history(found.info.run_id, "train/loss")
    assert {metric.step: metric.value for metric in history} == pytest.approx(rows, rel=1e-6)


def test_a_server_that_is_away_does_not_hold_up_training(sets: dict[str, Path], tmp_path: Path) -> None:
    keys = overrides(sets, tmp_path, "tracking.mlflow=http://127.0.0.1:9", "engine.max_steps=9")
    session = Session(keys, tmp_path / "away.log", environment={"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"})
    session.until(lambda: last_step(tmp_path) == 9)
    assert session.wait() == 0, session.said()
    assert "MLflow" in session.said()
    assert len(metrics(only_run(tmp_path))) == 9


def test_a_tracker_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setattr(patience, "CLOSE_S", 0.2)
    hang = threading.Event()

    class Stuck:
        def log(self, step, row):
            hang.wait(30)

        def close(self, exit_code):
            raise AssertionError("never reached")

    patient, start = Patient("Stuck", Stuck), time.monotonic()
    for step in range(patience._WAITING + 3):
        patient.log(step, {"loss": 1.0})
    patient.close(0)
    assert time.monotonic() - start < 10
    assert patient.faults >= 1
    assert "Stuck" in caplog.text
    hang.set()


def test_the_first_fault_is_said_and_all_are_counted(caplog) -> None:
    class Broken:
        def log(self, step, row):
            raise ConnectionError("no route")

        def close(self, exit_code):
            raise ConnectionError("no route")

    patient = Patient("Broken", Broken)
    for step in range(5):
        patient.log(step, {})
    patient.close(0)
    assert patient.faults == 6
    assert caplog.text.count("no route") == 1


def test_a_package_that_is_missing_is_said_before_training(
    sets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    recipe = recipes.load("emocapclip/tiny", overrides(sets, tmp_path, "tracking.tensorboard=true"))
    with pytest.raises(RunError, match=r"tensorboard is not installed.*mien\[trackers\]"):
        open_sinks(RunFolder.create(recipe), recipe, 0)


def test_pictures_and_checkpoints_reach_those_who_take_them(sets: dict[str, Path], tmp_path: Path) -> None:
    from mlflow import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    keys = overrides(
        sets, tmp_path, "tracking.tensorboard=true", f"tracking.mlflow={uri}", "tracking.wandb=offline",
        "tracking.images=5", "tracking.artifacts=true", "engine.max_steps=11",
    )  # fmt: skip
    session = Session(keys, tmp_path / "log")
    assert session.wait() == 0, session.said()
    run = only_run(tmp_path)
    names = [f"step-{step:08d}.jpg" for step in (1, 10)]
    assert sorted(file.name for file in (run.path / "samples").iterdir()) == names
    with Image.open(run.path / "samples" / names[0]) as sheet:
        assert sheet.size == (4 * 34 + 2, 2 * 34 + 2)  # five images of 32 pixels, four a row
    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert [event.step for event in events.Images("samples")] == [1, 10]
    client, number = MlflowClient(tracking_uri=uri), run.info["mlflow_id"]
    assert [Path(file.path).name for file in client.list_artifacts(number, "samples")] == names
    sent = client.list_artifacts(number, "checkpoints/step-00000011")
    assert {Path(file.path).name for file in sent} >= {"manifest.json", "state.pt"}
    media = list(run.path.glob("wandb/offline-run-*/files/media/images/samples_*"))
    assert len(media) == 2
    said = tracked_kinds(run.path)
    assert said["artifact"] == 1
    assert {"run", "summary", "history"} <= said.keys()


class BlackHole:
    """A server that takes connections and never answers."""

    def __enter__(self) -> str:
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(64)
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def __exit__(self, *error: object) -> None:
        self.socket.close()


def test_a_wandb_server_that_never_answers_stalls_nothing(sets: dict[str, Path], tmp_path: Path) -> None:
    """Steps go on while W&B still tries to connect, and the command ends within the patience for trackers."""
    with BlackHole() as address:
        world = {"WANDB_BASE_URL": address, "WANDB_API_KEY": "0" * 40, "OMP_NUM_THREADS": "1"}
        keys = overrides(sets, tmp_path, "tracking.wandb=online", "engine.max_steps=9")
        command = [sys.executable, "-m", "mien", "train", "emocapclip/tiny", *keys]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | world)
        began = time.monotonic()
        while last_step(tmp_path) < 9:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() - began < 60
            time.sleep(0.05)
        assert process.wait(patience.CLOSE_S + 20) == 0, (tmp_path / "log").read_text()
    said = (tmp_path / "log").read_text()
    assert "W&B did not take everything" in said
    assert "Traceback" not in said
    run = only_run(tmp_path)
    assert run.checkpoint().step == 9
    assert run.info["state"] == "finished"


def test_a_wandb_server_that_refuses_leaves_the_run_offline(
    sets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be sent now is written for `wandb sync`."""
    monkeypatch.setattr(wandb_sink, "INIT_TIMEOUT_S", 2.0)
    run = RunFolder.create(recipes.load("emocapclip/tiny", overrides(sets, tmp_path)))
    with BlackHole() as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        sink = wandb_sink.WandB("online", run, run.recipe, {})
        sink.log(10, {"train/loss": 1.0})
        sink.close(0)
    # W&B's helper may write the end of its file after it has said that the run is finished.
    until = time.monotonic() + 60
    while not tracked_rows(run.path) and time.monotonic() < until:
        time.sleep(0.1)
    assert [row["train/loss"] for row in tracked_rows(run.path)] == [1.0]


def test_a_helper_of_wandb_that_dies_is_a_fault_and_not_a_trace(
    sets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its errors are private classes without a base of W&B's own."""
    from wandb.sdk.lib.service.service_token import WandbServiceConnectionError

    def dead(*arguments: object) -> None:
        raise WandbServiceConnectionError("no socket")

    monkeypatch.setattr(wandb_sink, "_init", dead)
    recipe = recipes.load("emocapclip/tiny", overrides(sets, tmp_path, "tracking.wandb=offline"))
    (sink,) = open_sinks(RunFolder.create(recipe), recipe, 0)
    for step in range(3):
        sink.log(step, {"train/loss": 1.0})
    sink.close(0)
    assert caplog.text.count("W&B cannot take rows") == 1
    assert "no socket" in caplog.text
