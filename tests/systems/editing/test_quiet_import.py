"""Editors start without a word of libraries that they do not use."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_networks_says_nothing() -> None:
    code = "from mien.systems.editing import sampler, unets"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
