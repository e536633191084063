"""Toy sets and the encoder that can see and read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.evaluation.faceset import FaceSet, open_faces

from .toys import FakeEncoder, write_set


@pytest.fixture(scope="session")
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture(scope="session")
def train_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("train") / "set", people=12, images=192, seed=1)


@pytest.fixture(scope="session")
def test_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("test") / "set", people=8, images=128, seed=2, first=100)


@pytest.fixture(scope="session")
def train_set(train_folder: Path) -> FaceSet:
    return open_faces(train_folder)


@pytest.fixture(scope="session")
def test_set(test_folder: Path) -> FaceSet:
    return open_faces(test_folder)
