"""What spares experiments their start."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien import recipe
from mien.engine.rundir import RunFolder
from mien.faults.sessions import Session
from mien.reproduce.jobs import Job


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs train in forked processes: `python -m mien train` imports for seconds before it trains for one.

    The tests without this fixture, such as that of the ways to train, use the command.
    """

    def run(self: Job, threads: int) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        keys = [f"run.root={self.root}", f"engine.threads={threads}", *self.overrides]
        log = self.root / f"train-{Path(self.recipe).stem}.log"
        session = Session(keys, log, recipe=self.recipe, resume=True)
        assert session.wait() == 0, session.said()
        found = RunFolder.newest(recipe.load(self.recipe, keys))
        assert found is not None
        return found.path

    monkeypatch.setattr(Job, "run", run)
