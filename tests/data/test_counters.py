"""What a node has fetched is counted once, whoever fetches."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from mien.data.node import Counters
from mien.data.remote import Remote


@pytest.fixture
def _hasty():
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_hasty")
def test_threads_that_fetch_side_by_side_are_counted_once(tmp_path: Path) -> None:
    remote = Remote("memory://counted", 1, 1.0)
    remote.counters = Counters(tmp_path / "counters")

    def take() -> None:
        for _ in range(300):
            remote._count(1000)
            remote.flush()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = remote.counters.read()
    assert (counted["requests"], counted["bytes"]) == (2400, 2_400_000)
