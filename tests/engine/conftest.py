"""Sets, and one undisturbed run that others are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.engine.rundir import RunFolder
from mien.faults.sets import write_set
from mien.systems import SYSTEMS

from .processes import Session
from .runs import only_run, overrides
from .toy import ToyModule


@pytest.fixture(autouse=True)
def _no_toy_is_left() -> Iterator[None]:
    yield
    ToyModule.interfere = None
    SYSTEMS.pop("toy", None)


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """96 samples to train on, uids from 1000; 20 to validate on."""
    root = tmp_path_factory.mktemp("sets")
    return {
        "train": write_set(root / "train", 96),
        "val": write_set(root / "val", 20, seed=1, first_uid=5000),
    }


@pytest.fixture(scope="session")
def undisturbed(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of `overrides(sets, root)` in one process."""
    root = tmp_path_factory.mktemp("undisturbed")
    session = Session(overrides(sets, root), root / "log")
    assert session.wait() == 0, session.said()
    return only_run(root)
