"""Where log rows go: `metrics.csv`, which is the truth, and trackers, which may fail without harm."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import netrc
import os
import signal
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.engine.rundir import RunFolder, truncate_lines, write_atomic
from mien.engine.trackers import open_sinks

if TYPE_CHECKING:
    from mien.recipe import Recipe

log = logging.getLogger("mien.engine")


class MetricsFile:
    """`metrics.csv`: a `step` column first, more columns as they appear; a row is one write.

    Args:
        path: the file; created with the first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns = _header(path)

    def rewind(self, step: int) -> None:
        """Drop rows beyond `step` and a row cut short by a crash."""
        truncate_lines(self.path, lambda line: _step_of(line) <= step)
        self.columns = _header(self.path)

    def append(self, step: int, row: Mapping[str, float]) -> None:
        """Add a row; a column not seen before rewrites the file with a wider header."""
        if new := [name for name in row if name not in self.columns]:
            self._widen(new)
        line = _csv_line([step, *(_number(row.get(name)) for name in self.columns[1:])])
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)

    def last(self) -> dict[str, float]:
        """The last row with its step, without empty cells; {} before the first."""
        return next(iter(read_metrics(self.path, last=1)), {})

    def _widen(self, new: list[str]) -> None:
        old = self.path.read_text(encoding="utf-8").splitlines()[1:] if self.path.is_file() else []
        self.columns = [*(self.columns or ["step"]), *new]
        write_atomic(
            self.path, _csv_line(self.columns) + "".join(f"{line}{',' * len(new)}\n" for line in old)
        )


def read_metrics(path: Path, last: int | None = None) -> list[dict[str, float]]:
    """Rows of a `metrics.csv`, the last ones or all, without empty cells; [] where there is no file.

    A row that is being written is left out.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = deque(csv.DictReader(file), maxlen=last)
    whole = [row for row in rows if (row.get("step") or "").isdecimal()]
    return [{name: float(cell) for name, cell in row.items() if cell} for row in whole]


class Tracker:
    """Writes a row to every place.

    Args:
        folder: the run.
        recipe: its recipe, sent as the tracker's config.
        step: step that the run continues from; later rows are dropped.
    """

    def __init__(self, folder: RunFolder, recipe: Recipe, step: int) -> None:
        self.file = MetricsFile(folder.path / "metrics.csv")
        self.file.rewind(step)
        self._sinks = open_sinks(folder, recipe, step)
        self._wandb = _open_wandb(folder, recipe)
        if self._wandb is not None and (row := self.file.last()):
            with _harmless("log"):  # the signal that ended the last session may have kept its last row back
                self._wandb.log(row)

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Write one row."""
        self.file.append(step, row)
        for sink in self._sinks:
            sink.log(step, row)
        if self._wandb is not None:
            with _harmless("log"):
                self._wandb.log({"step": step, **row})

    def close(self, exit_code: int) -> None:
        """Finish the tracker's session; the run itself can be continued."""
        for sink in self._sinks:
            sink.close(exit_code)
        if self._wandb is not None:
            with _harmless("finish"):
                self._wandb.finish(exit_code=exit_code)


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


def _open_wandb(folder: RunFolder, recipe: Recipe) -> Any | None:
    chosen = mode(recipe.tracking.wandb)
    if chosen == "off":
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wandb
    info = folder.info
    settings = wandb.Settings(
        silent=True, console="off", save_code=False, disable_git=True, x_disable_stats=chosen == "offline"
    )
    with _harmless("start"), _signals_blocked(recipe.engine.signals):
        run = wandb.init(
            project=recipe.tracking.project,
            entity=recipe.tracking.entity,
            group=recipe.tracking.group,
            tags=list(recipe.tracking.tags) or None,
            name=f"{recipe.name}/{info['id']}",
            id=info["wandb_id"],
            resume="allow" if chosen == "online" else None,
            mode="online" if chosen == "online" else "offline",
            dir=str(folder.path),
            config={**recipe.dump(), "recipe_hash": recipe.hash, "code_version": info["code_version"]},
            settings=settings,
        )
        # A step axis of our own: after a restart the tracker's internal counter may be ahead of the restored
        # step.
        run.define_metric("step")
        run.define_metric("*", step_metric="step")
        return run
    return None


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


@contextlib.contextmanager
def _harmless(what: str) -> Any:
    """Turn a fault of the tracker into a warning: training goes on, `metrics.csv` has everything."""
    import wandb

    try:
        yield
    except (wandb.Error, OSError, ValueError) as error:
        log.warning("wandb could not %s: %s", what, " ".join(str(error).split()))


def _netrc_has_key() -> bool:
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _header(path: Path) -> list[str]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [])


def _csv_line(values: list[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def _step_of(line: str) -> float:
    head = line.partition(",")[0]
    return int(head) if head.isdecimal() else float("inf")
