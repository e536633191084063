"""TensorBoard, MLflow and W&B: what each does with a row, a picture and a checkpoint."""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mien.engine.patient import Patient, Sink
from mien.engine.resume import flat
from mien.engine.rundir import RunFolder
from mien.engine.wandb_sink import WandB, mode
from mien.errors import RunError

if TYPE_CHECKING:
    from mien.recipe import Recipe


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

    def picture(self, step: int, file: Path) -> None:
        """Show it."""
        from torchvision.io import decode_image

        self._writer.add_image("samples", decode_image(str(file)), step)

    def checkpoint(self, step: int, folder: Path) -> None:
        """There is no place for it: it lies beside the event files."""

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
            if experiment is None:
                number = self._client.create_experiment(recipe.tracking.project, _artifacts(uri))
            else:
                number = experiment.experiment_id
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

    def picture(self, step: int, file: Path) -> None:
        """Send it as an artifact."""
        self._client.log_artifact(self._run, str(file), "samples")

    def checkpoint(self, step: int, folder: Path) -> None:
        """Send it as an artifact."""
        self._client.log_artifacts(self._run, str(folder), f"checkpoints/{folder.name}")

    def close(self, exit_code: int) -> None:
        """Say how the session ended."""
        self._client.set_terminated(self._run, "FAILED" if exit_code else "FINISHED")


def _artifacts(uri: str) -> str | None:
    """Beside a database file; by itself MLflow would take the working folder. A server knows a place."""
    file = uri.removeprefix("sqlite:///")
    return None if file == uri else Path(file).resolve().with_name("mlartifacts").as_uri()


def open_sinks(
    folder: RunFolder, recipe: Recipe, step: int, last: Mapping[str, float] | None = None
) -> list[Sink]:
    """What the recipe asks for.

    Args:
        folder: the run.
        recipe: its recipe.
        step: step that the run continues from.
        last: the row of that step, if there is one.

    Raises:
        RunError: if a package is missing.
    """
    sinks: list[Sink] = []
    chosen = mode(recipe.tracking.wandb)
    if chosen != "off":
        # When its helper process dies, W&B raises private classes that have no other base.
        sinks.append(Patient("W&B", lambda: WandB(chosen, folder, recipe, last or {}), (Exception,)))
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
