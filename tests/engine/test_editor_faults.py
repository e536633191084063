"""Faults on purpose for an editor: some of those of `python -m mien.faults --recipe magicface/tiny`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mien.faults.__main__ import CASES, attempt
from mien.faults.lab import Lab
from mien.faults.subjects import SUBJECTS


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"), SUBJECTS["magicface/tiny"])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("torn checkpoint", "bitwise equal from the one before"),  # after a SIGKILL between two of them
        ("NaN batch", "skipped and named"),
        ("shard with a decompression bomb", "quarantined, then code 2; named by `mien data check`"),
    ],
)
def test_a_fault_ends_as_the_table_states(fault: str, said: str, lab: Lab, tmp_path: Path) -> None:
    outcome = attempt(CASES[fault], lab, tmp_path / "try", random.Random(f"0 {fault} 0"))
    assert outcome.good, outcome.said
    assert outcome.said.startswith(said)
