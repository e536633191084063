"""Shared fixtures: where the optional face rig and photographs lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


SLOW = ("tests/slurm/", "tests/engine/test_strategies.py", "tests/engine/test_training.py")
"""Those begin first, so that no worker is left alone with them at the end."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers a file goes to one of them, for its fixtures; Slurm's files share one cluster."""
    for item in items:
        file = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group("slurm" if file.startswith(SLOW[0]) else file))
    items.sort(key=lambda item: not item.nodeid.startswith(SLOW))


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
