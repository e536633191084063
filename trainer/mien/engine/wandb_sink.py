"""Weights & Biases: one run id through any number of restarts, offline unless there is a key."""

from __future__ import annotations

import contextlib
import logging
import netrc
import os
import signal
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.engine.rundir import RunFolder

if TYPE_CHECKING:
    from mien.recipe import Recipe

log = logging.getLogger("mien.engine")
INIT_TIMEOUT_S = 60.0
"""Seconds that the server gets to answer before a session is written offline; training does not wait."""


class WandB:
    """A session of a W&B run.

    Args:
        mode: `online` or `offline`; offline opens no connection.
        folder: the run; its `run.json` has the id.
        recipe: sent as the run's config.
        last: row of the step that the run continues from. The signal that ended the last session may have
            kept it back, so it is sent again.
    """

    def __init__(self, mode: str, folder: RunFolder, recipe: Recipe, last: Mapping[str, float]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import wandb
        with _signals_blocked(recipe.engine.signals):
            try:
                self._run = _init(mode, folder, recipe)
            except (wandb.errors.CommError, TimeoutError) as error:
                if mode == "offline":
                    raise
                reason = " ".join(str(error).split())[:200]
                log.warning("W&B writes offline (`wandb sync` sends it): %s", reason)
                wandb.teardown()  # its helper still holds the run's id
                self._run = _init("offline", folder, recipe)
        # A step axis of our own: after a restart the tracker's internal counter may be ahead of the restored
        # step.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        if last:
            self._run.log(dict(last))

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Send one row."""
        self._run.log({"step": step, **row})

    def picture(self, step: int, file: Path) -> None:
        """Send it."""
        import wandb

        self._run.log({"step": step, "samples": wandb.Image(str(file))})

    def checkpoint(self, step: int, folder: Path) -> None:
        """Send it as an artifact of the run, a version a checkpoint."""
        import wandb

        artifact = wandb.Artifact(f"{self._run.id}-checkpoint", "model", metadata={"step": step})
        artifact.add_dir(str(folder))
        self._run.log_artifact(artifact, aliases=["latest", folder.name])

    def close(self, exit_code: int) -> None:
        """End the session; the run can be continued."""
        self._run.finish(exit_code=exit_code)


def mode(wanted: str) -> str:
    """Resolve `auto`: what WANDB_MODE says, else online with an API key and offline without one."""
    if wanted != "auto":
        return wanted
    said = os.environ.get("WANDB_MODE", "")
    if said in ("online", "offline"):
        return said
    if said in ("disabled", "dryrun"):
        return "off" if said == "disabled" else "offline"
    return "online" if os.environ.get("WANDB_API_KEY") or _netrc_has_key() else "offline"


def _init(mode: str, folder: RunFolder, recipe: Recipe) -> Any:
    import wandb

    info, online = folder.info, mode == "online"
    settings = wandb.Settings(
        silent=True, console="off", save_code=False, disable_git=True, init_timeout=INIT_TIMEOUT_S
    )
    return wandb.init(
        project=recipe.tracking.project,
        entity=recipe.tracking.entity,
        group=recipe.tracking.group,
        tags=list(recipe.tracking.tags) or None,
        name=f"{recipe.name}/{info['id']}",
        id=info["wandb_id"],
        resume="allow" if online else None,
        mode="online" if online else "offline",
        dir=str(folder.path),
        config={**recipe.dump(), "recipe_hash": recipe.hash, "code_version": info["code_version"]},
        settings=settings,
    )


@contextlib.contextmanager
def _signals_blocked(names: tuple[str, ...]) -> Iterator[None]:
    """Keep these signals from every process started meanwhile, for its whole life.

    Slurm sends a notice to all processes of a step, and the tracker's helper would end before the last rows
    reach it. It takes SIGINT and SIGTERM back, though: after those the row of the last step may be only in
    `metrics.csv`, and the next session sends it again.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.Signals[name] for name in names])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _netrc_has_key() -> bool:
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False
