"""The place where faults are tried: small sets, a small recipe, and undisturbed runs to compare with."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.data.bench_servers import Server, upload
from mien.engine.rundir import RunFolder
from mien.faults.compare import differences, last_step, only_run, samples, state
from mien.faults.sessions import Session, preload, rank_environments
from mien.faults.subjects import SUBJECTS, Subject

STEPS, EVERY = 24, 5
_LOOP = (
    "engine.threads=1", "engine.global_batch=16", "engine.schedule.warmup=4", "engine.log_every=1",
    "engine.val_every=10", "data.log_samples=true", f"engine.max_steps={STEPS}",
    f"engine.checkpoint_every={EVERY}", "data.workers=0", "tracking.wandb=off", "tracking.images=0",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """How a try ended.

    Attributes:
        good: as it should.
        said: what was seen, a few words.
    """

    good: bool
    said: str


Case = Callable[["Lab", Path, random.Random], Outcome]
"""(lab, empty folder, chance) -> how one try ended."""


class Lab:
    """Sets and undisturbed runs, made once.

    Args:
        root: folder for all of it.
        subject: what is trained.
    """

    def __init__(self, root: Path, subject: Subject = SUBJECTS["emocapclip/tiny"]) -> None:
        preload(subject.modules)
        self.root = root
        self.subject = subject
        self.train = subject.write(root / "sets" / "train", 96, 0)
        self.val = subject.write(root / "sets" / "val", 20, 1)
        self._alone: dict[tuple[int, tuple[str, ...]], RunFolder] = {}
        self._making = threading.Lock()
        self._firsts: dict[str, Any] = {}
        self._store: Server | None = None

    def store(self) -> str:
        """Address of an object store with the training set as `s3://faults/set`; ends with the process."""
        with self._making:
            if self._store is None:
                self._store = Server("s3")
                upload(self.train, "faults", self._store.url)
            return self._store.url

    def keys(self, root: Path, *more: str) -> list[str]:
        """Overrides of a run under `root`; later keys win."""
        own = (f"data.train.shards={self.train}", f"data.val.shards={self.val}", f"run.root={root}")
        return [*_LOOP, *self.subject.keys, *own, *more]

    def start(
        self,
        root: Path,
        *more: str,
        world: int = 1,
        resume: bool = False,
        faults: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> list[Session]:
        """Start all ranks of a run."""
        root.mkdir(parents=True, exist_ok=True)
        number = len(list(root.glob("*.log")))
        return [
            Session(
                self.keys(root, *more),
                root / f"{number}-rank{rank}.log",
                recipe=self.subject.recipe,
                resume=resume,
                environment=dict(where) | dict(environment or {}),
                faults=faults,
            )
            for rank, where in enumerate(rank_environments(world))
        ]

    def finish(self, root: Path, *more: str, world: int = 1, **how: Any) -> RunFolder:
        """Continue a run to its end.

        Raises:
            AssertionError: if a rank fails.
        """
        for session in self.start(root, *more, world=world, resume=True, **how):
            code = session.wait()
            assert code == 0, f"code {code}:\n{session.said()}"
        return only_run(root)

    def undisturbed(self, *more: str, world: int = 1) -> RunFolder:
        """The run to compare with, of the same keys and ranks."""
        with self._making:
            known = (world, more)
            if known not in self._alone:
                self._alone[known] = self.finish(self.root / f"alone-{len(self._alone)}", *more, world=world)
            return self._alone[known]

    def first(self, kind: str, value: Any) -> Any:
        """The value that was given first under that name."""
        return self._firsts.setdefault(kind, value)

    def same(self, run: RunFolder, *more: str, world: int = 1, said: str = "") -> Outcome:
        """Whether a run ended bit by bit as the undisturbed one, with every sample used once."""
        other = self.undisturbed(*more, world=world)
        found = differences(state(run), state(other))
        if found:
            return Outcome(False, f"differs in {found[0]}")
        if samples(run) != samples(other):
            return Outcome(False, "other samples")
        return Outcome(True, f"bitwise equal{said}")


def some_step(chance: random.Random) -> int:
    """A step at which to strike: before, between or after checkpoints."""
    return chance.randint(2, STEPS - 4)


def reached(root: Path, step: int) -> Callable[[], bool]:
    """Whether the run below `root` has logged that step."""
    return lambda: last_step(root) >= step
