"""One rank's end is every rank's end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mien.engine import launch

WATCHED = """
import subprocess, sys, time
from mien.engine import launch
launch._PATIENCE_S = 0.1
start = lambda code: subprocess.Popen([sys.executable, "-c", code])
others = [start("import sys; sys.exit(3)"), start("import time; time.sleep(600)")]
print(others[1].pid, flush=True)
launch._Watch(others).start()
time.sleep(600)  # as in a collective that never ends
"""


def test_a_rank_that_fails_ends_the_others() -> None:
    done = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert "ended with code 3" in done.stderr
    status = Path(f"/proc/{done.stdout.strip()}/stat")
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_rank_that_hangs_is_ended_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_PATIENCE_S", 0.1)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    launch._reap([sleeper])
    assert sleeper.returncode == -9
