"""Shared fixtures: where the optional face rig and photographs lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# One thread a process: workers and what they start fill a small machine, and threads of BLAS and OpenMP that
# wait for each other spin. Before anything imports numpy or torch; what tests start inherits it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SLOW = (
    "tests/slurm/test_sweep.py",
    "tests/engine/test_strategies.py",
    "tests/slurm/test_preempt.py",
    "tests/engine/test_ranks.py",
    "tests/sweep/test_worker.py",
    "tests/kernels/test_triton.py",
    "tests/reproduce/test_reproduce.py",
    "tests/engine/test_training.py",
)
"""Those begin first, in this order, so that no worker is left alone with them at the end."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first: `--dist loadfile` takes them in this order, each to one worker, for its fixtures."""
    rank = {file: number for number, file in enumerate(SLOW)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(SLOW)))


def _folder(variable: str, default: Path) -> Path:
    path = Path(os.environ.get(variable, default))
    if not path.is_dir():
        pytest.skip(f"{path} is absent: set {variable} to a folder that holds it")
    return path


@pytest.fixture(scope="session")
def assets() -> Path:
    """Folder with the packed ICT-FaceKit rig (`ict_face.npz`)."""
    return _folder("MIEN_ASSETS", ROOT.parent / "shared" / "assets")


@pytest.fixture(scope="session")
def wild_faces() -> Path:
    """Folder of labelled grey photographs (`labels.csv`, `images/`)."""
    return _folder("MIEN_DATA", ROOT.parent / "shared" / "data") / "wild_faces"
