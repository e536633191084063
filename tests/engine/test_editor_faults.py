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
        ("SIGTERM in a checkpoint write", "bitwise equal, code 143"),
        ("NaN batch", "skipped and named, bitwise equal"),
        ("shard with a decompression bomb", "quarantined, then code 2; named by `mien data check`"),
    ],
)
def test_a_fault_ends_as_the_table_states(fault: str, said: str, lab: Lab, tmp_path: Path) -> None:
    for number in range(2 if fault == "NaN batch" else 1):  # its tries are compared with each other
        outcome = attempt(CASES[fault], lab, tmp_path / str(number), random.Random(f"0 {fault} {number}"))
        assert outcome.good, outcome.said
        assert outcome.said == said
