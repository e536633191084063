"""The run folder: where it lies, what it holds, and how a run is found again.

<run.root>/<recipe name>/<run id>/
    recipe.yaml        the resolved recipe
    run.json           id, recipe hash, tracker id, code version, sessions, state
    metrics.csv        one row a log step
    samples-rank<r>.csv, quarantine.jsonl, nonfinite.jsonl
    stacks-rank<r>.txt where each thread stood, if the run stood still (`engine.hang_s`)
    checkpoints/       see `mien.engine.checkpoint`
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mien
from mien.errors import RunError

if TYPE_CHECKING:
    from mien.engine.checkpoint import Checkpoint, CheckpointStore
    from mien.recipe import Recipe


_editing = threading.RLock()  # a tracker's thread notes its id while the loop notes the end of a session


class RunFolder:
    """A run on disk.

    Args:
        path: folder that holds `run.json`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, recipe: Recipe) -> RunFolder:
        """Make the folder of a new run and freeze the recipe into it.

        Raises:
            RunError: if the folder cannot be written.
        """
        run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        folder = cls(Path(recipe.run.root) / recipe.name / run_id)
        folder.lay(recipe)
        folder.register(recipe, run_id)
        return folder

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The run at `path`.

        Raises:
            RunError: if there is none.
        """
        folder = cls(Path(path))
        if not (folder.path / "run.json").is_file():
            raise RunError(
                "not a run folder: it has no run.json",
                where=path,
                fix="give the folder that `mien train` printed",
            )
        return folder

    @classmethod
    def newest(cls, recipe: Recipe) -> RunFolder | None:
        """The run of that recipe name under `run.root` that was created last, or None."""
        root = Path(recipe.run.root) / recipe.name
        runs = [cls(file.parent) for file in root.glob("*/run.json")]
        return max(runs, key=lambda run: str(run.info["created"]), default=None)

    @property
    def info(self) -> dict[str, Any]:
        """Content of `run.json`.

        Raises:
            RunError: if it is unreadable.
        """
        try:
            info = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"run.json cannot be read: {error}", where=self.path, fix="start a new run"
            ) from error
        if not isinstance(info, dict) or not {"id", "created", "wandb_id", "sessions"} <= info.keys():
            raise RunError("run.json lacks keys", where=self.path, fix="start a new run")
        return info

    @property
    def recipe(self) -> Recipe:
        """The recipe that the run was started with, or last continued with."""
        from mien import recipe as recipes

        return recipes.load_resolved(self.path / "recipe.yaml")

    @property
    def store(self) -> CheckpointStore:
        """The run's checkpoints."""
        from mien.engine.checkpoint import CheckpointStore

        return CheckpointStore(self.path / "checkpoints")

    def checkpoint(self, which: str = "last") -> Checkpoint:
        """A verified checkpoint.

        Args:
            which: `last` (newest that verifies), `best`, or a step number.

        Raises:
            RunError: if there is none.
        """
        return self.store.find(which)

    def lay(self, recipe: Recipe) -> None:
        """Make the folder, with the frozen recipe and room for checkpoints; a run once it is registered.

        Raises:
            RunError: if it exists, or cannot be written.
        """
        from mien import recipe as recipes

        try:
            (self.path / "checkpoints").mkdir(parents=True)
            recipes.save(recipe, self.path / "recipe.yaml")
        except OSError as error:
            raise RunError(
                f"cannot make the run folder: {error.strerror}", where=self.path, fix="set run.root"
            ) from error

    def register(self, recipe: Recipe, run_id: str, **facts: Any) -> None:
        """Write `run.json` of a new run; with it the folder is one.

        Args:
            recipe: as frozen.
            run_id: name that the folder has, or will have.
            facts: more keys, or other values.
        """
        self._write(
            {
                "id": run_id,
                "recipe": recipe.name,
                "recipe_hash": recipe.hash,
                "wandb_id": secrets.token_hex(4),
                "code_version": code_version(),
                "created": datetime.now(UTC).isoformat(timespec="microseconds"),
                "state": "new",
                "sessions": [],
                **facts,
            }
        )

    def update(self, **changes: Any) -> None:
        """Change keys of `run.json`, atomically."""
        with _editing:
            self._write(self.info | changes)

    def freeze(self, recipe: Recipe) -> None:
        """Replace the frozen recipe by the one that the run is continued with, atomically."""
        from mien import recipe as recipes

        aside = self.path / ".recipe.yaml.tmp"
        recipes.save(recipe, aside)
        os.replace(aside, self.path / "recipe.yaml")

    def begin_session(self) -> None:
        """Note that a process starts to work on the run."""
        who = {"host": socket.gethostname(), "pid": os.getpid(), "born": process_birth(os.getpid())}
        job = {"job": os.environ["SLURM_JOB_ID"]} if "SLURM_JOB_ID" in os.environ else {}
        with _editing:
            sessions = [*self.info["sessions"], {"start": time.time(), **who, **job}]
            self.update(sessions=sessions, state="running", code_version=code_version())

    def note(self, **facts: Any) -> None:
        """Add facts to the session under way."""
        with _editing:
            sessions = self.info["sessions"]
            sessions[-1] |= facts
            self.update(sessions=sessions)

    def end_session(self, state: str) -> None:
        """Note that the process leaves the run, and in which state: `finished`, `stopped` or `failed`."""
        with _editing:
            sessions = self.info["sessions"]
            sessions[-1]["end"] = time.time()
            self.update(sessions=sessions, state=state)

    def wall_seconds(self) -> float:
        """Seconds since the run began, without the pauses after an orderly stop.

        A session that was killed counts until the next one starts: that time was lost to the run.
        """
        sessions = self.info["sessions"]
        total = 0.0
        for session, after in zip(sessions, [*sessions[1:], None], strict=True):
            end = session.get("end") or (after["start"] if after else time.time())
            total += max(0.0, end - session["start"])
        return total

    def _write(self, info: dict[str, Any]) -> None:
        write_atomic(self.path / "run.json", json.dumps(info, indent=1) + "\n")


def write_atomic(path: Path, text: str) -> None:
    """Replace a file so that a reader sees the old or the new text, also after a crash."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def truncate_lines(path: Path, keep: Callable[[str], bool], header: bool = True) -> int:
    """Drop the lines of a log that `keep` refuses, and a last line that a crash cut short.

    Args:
        path: text file; absent counts as empty.
        keep: told a whole line without its newline.
        header: whether the first line stays untested.

    Returns:
        Lines dropped.
    """
    if not path.is_file():
        return 0
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = text.split("\n")
    torn = lines.pop()
    head, body = (lines[:1], lines[1:]) if header else ([], lines)
    kept = head + [line for line in body if keep(line)]
    dropped = len(lines) - len(kept) + bool(torn)
    if dropped:
        write_atomic(path, "".join(f"{line}\n" for line in kept))
    return dropped


def process_birth(pid: int) -> int | None:
    """Start of a process in clock ticks since boot, which tells it from a later one of that number.

    None if it is gone, or this is no Linux.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def code_version() -> str:
    """Version of mien, with the git commit when it runs from a checkout."""
    root = Path(mien.__file__).resolve().parents[2]
    head = root / ".git" / "HEAD"
    if not head.is_file():
        return mien.__version__
    text = head.read_text(encoding="utf-8").strip()
    if text.startswith("ref: "):
        reference = root / ".git" / text[5:]
        text = reference.read_text(encoding="utf-8").strip() if reference.is_file() else ""
    return f"{mien.__version__}+{text[:12]}" if text else mien.__version__
