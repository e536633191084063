"""The tests of this folder once more, with Triton's interpreter as the device.

The interpreter has to be switched on before Triton is imported, so it gets a process of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FILES = (
    "test_contrast.py",
    "test_mine.py",
    "test_group_patches.py",
    "test_properties.py",
    "test_exchange.py",
)
HERE = Path(__file__).parent


@pytest.fixture
def backend():
    """In place of the one of this folder."""


@pytest.mark.parametrize("file", FILES)
def test_kernels_pass_every_test_of_the_other_back_ends(file):
    environment = os.environ | {"TRITON_INTERPRET": "1", "MIEN_KERNELS_BACKENDS": "triton"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 6
