"""One cluster for all tests, and a recipe small enough to train on it in seconds."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cluster import Cluster, missing
from laboratory import Laboratory

from engine.runs import LOOP, TOWERS
from mien.faults.sets import write_set

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes that are up for the whole session."""
    if lacking := missing():
        reason = f"Slurm is not installed (no {', '.join(lacking)}): run .ci/install-system, as .ci/run does"
        (pytest.fail if "CI" in os.environ else pytest.skip)(reason)
    with Cluster(tmp_path_factory.mktemp("slurm")) as running:
        running.env["MIEN_PYTHON"] = sys.executable
        yield running


@pytest.fixture(scope="session")
def laboratory(cluster: Cluster, lesson: Path) -> Laboratory:
    """The cluster and the folder to submit from."""
    return Laboratory(cluster, lesson)


@pytest.fixture(scope="session")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tiny.yaml` and its shards."""
    folder = tmp_path_factory.mktemp("lesson")
    write_set(folder / "shards", 96)
    keys = (
        *TOWERS, *LOOP, f"data.train.shards={folder}/shards", "data.workers=1", "data.val=null",
        "engine.checkpoint_every=20",
    )  # fmt: skip
    recipe: dict[str, object] = {"base": str(ROOT / "recipes" / "emocapclip" / "tiny.yaml")}
    for key, value in (pair.split("=", 1) for pair in keys):
        *parents, last = key.split(".")
        section = recipe
        for part in parents:
            section = section.setdefault(part, {})  # type: ignore[assignment]
        section[last] = yaml.safe_load(value)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    return folder
