"""TensorBoard and MLflow beside W&B: rows go to a thread, so a slow or absent server holds up no step."""

from __future__ import annotations

import importlib.util
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mien.engine.resume import flat
from mien.engine.rundir import RunFolder
from mien.errors import RunError

if TYPE_CHECKING:
    from mien.recipe import Recipe

log = logging.getLogger("mien.engine")

CLOSE_S = 20.0
"""Seconds that rows still waiting get when a session ends; `metrics.csv` has them all."""
_WAITING = 10_000  # rows; beyond that the oldest news of a dead server are dropped


class Sink(Protocol):
    """A place that takes log rows."""

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Take one row."""

    def close(self, exit_code: int) -> None:
        """No more rows in this session."""


class Patient:
    """A sink in a thread of its own; the first of its errors is said, the others are counted.

    Args:
        name: for messages.
        make: builds the sink, in that thread: even to connect may take minutes.
        expected: what the sink raises when its server or disk fails.
    """

    def __init__(
        self, name: str, make: Callable[[], Sink], expected: tuple[type[Exception], ...] = (OSError,)
    ) -> None:
        self.name = name
        self.faults = 0
        self._expected = expected
        self._make = make
        self._queue: queue.Queue[tuple[int, dict[str, float]] | int] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"{name}-tracker")
        self._thread.start()

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Leave a row; never waits."""
        try:
            self._queue.put_nowait((step, dict(row)))
        except queue.Full:
            self._fault(f"{_WAITING} rows wait already")

    def close(self, exit_code: int) -> None:
        """Wait for the rows left, at most `CLOSE_S`."""
        try:
            self._queue.put_nowait(exit_code)
        except queue.Full:
            return
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.warning("%s did not take the last rows in %.0f s; metrics.csv has them", self.name, CLOSE_S)

    def _run(self) -> None:
        sink: Sink | None = None
        while True:
            item = self._queue.get()
            try:
                sink = sink or self._make()
                if isinstance(item, int):
                    sink.close(item)
                else:
                    sink.log(*item)
            except self._expected as error:
                self._fault(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
            if isinstance(item, int):
                return

    def _fault(self, reason: str) -> None:
        self.faults += 1
        if self.faults == 1:
            log.warning("%s cannot take rows (metrics.csv has them): %s", self.name, reason)


class TensorBoard:
    """Event files in `<run>/tensorboard`.

    Args:
        folder: the run.
        step: step that the run continues from; later events of earlier sessions are hidden.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1, flush_secs=10)

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Write each value as a scalar."""
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)

    def close(self, exit_code: int) -> None:
        """Flush."""
        self._writer.close()


class MLflow:
    """A run on an MLflow server or database, one through any number of sessions.

    Args:
        uri: address of the server, or `sqlite:///FILE`.
        folder: the run; its `run.json` keeps the MLflow run id.
        recipe: sent as parameters.
    """

    def __init__(self, uri: str, folder: RunFolder, recipe: Recipe) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._metric = Metric
        self._client = MlflowClient(tracking_uri=uri)
        known = folder.info.get("mlflow_id")
        if known is None:
            experiment = self._client.get_experiment_by_name(recipe.tracking.project)
            number = (
                experiment.experiment_id
                if experiment
                else self._client.create_experiment(recipe.tracking.project)
            )
            tags = {"recipe_hash": recipe.hash, "code_version": str(folder.info["code_version"])}
            name = f"{recipe.name}/{folder.info['id']}"
            known = self._client.create_run(number, run_name=name, tags=tags).info.run_id
            values = [Param(key, str(value)[:500]) for key, value in flat(recipe.dump()).items()]
            for first in range(0, len(values), 100):
                self._client.log_batch(known, params=values[first : first + 100])
            folder.update(mlflow_id=known)
        self._run = known
        self._client.update_run(known, status="RUNNING")

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Send one row."""
        now = int(time.time() * 1000)
        finite = {name: value for name, value in row.items() if math.isfinite(value)}
        metrics = [self._metric(name, value, now, step) for name, value in finite.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self, exit_code: int) -> None:
        """Say how the session ended."""
        self._client.set_terminated(self._run, "FAILED" if exit_code else "FINISHED")


def open_sinks(folder: RunFolder, recipe: Recipe, step: int) -> list[Sink]:
    """What the recipe asks for beside W&B.

    Raises:
        RunError: if a package is missing.
    """
    sinks: list[Sink] = []
    if recipe.tracking.tensorboard:
        _need("tensorboard", "tensorboard")
        sinks.append(Patient("TensorBoard", lambda: TensorBoard(folder.path, step)))
    uri = recipe.tracking.mlflow
    if uri is not None:
        _need("mlflow", "mlflow")
        from mlflow.exceptions import MlflowException

        expected = (MlflowException, OSError, ValueError)
        sinks.append(Patient("MLflow", lambda: MLflow(uri, folder, recipe), expected))
    return sinks


def _need(package: str, key: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise RunError(
            f"{package} is not installed", where=f"tracking.{key}", fix="pip install 'mien[trackers]'"
        )
