"""The package without mien: built, unpacked and used with torch (and Triton) only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "kernels"
ALONE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused}:
            raise ImportError(f"mien_kernels may not import {name}")
sys.meta_path.insert(0, Refuse())
import torch, mien_kernels
assert mien_kernels.__file__.startswith(sys.argv[1]), mien_kernels.__file__
{body}
"""
REFUSED = ("mien", "lightning", "open_clip", "omegaconf", "pydantic", "webdataset")


@pytest.fixture
def backend():
    """In place of the one of this folder."""


def run(folder, body, **environment):
    code = ALONE.replace("{refused}", repr(REFUSED)).replace("{body}", body)
    environment = os.environ | {"PYTHONPATH": str(folder)} | environment
    return subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel's files, in a folder of their own."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copytree(KERNELS, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "benchmarks"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, folder / "source"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("mien_kernels-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(folder / "site")
    assert all(name.startswith(("mien_kernels/", "mien_kernels-0")) for name in names)
    return folder / "site"


@pytest.mark.parametrize("backend", ["dense", "chunked", "triton"])
def test_every_back_end_needs_torch_and_triton_only(installed, backend):
    body = f"""
from mien_kernels import group_patches, mine, symmetric_contrast
a, b = (torch.nn.functional.normalize(torch.randn(20, 8), dim=1).requires_grad_() for _ in range(2))
symmetric_contrast(a, b, torch.tensor(9.0), backend="{backend}").backward()
mine(a, b, backend="{backend}")
group_patches(a.detach().reshape(4, 5, 8), b, torch.arange(20) // 5, backend="{backend}")
"""
    done = run(installed, body, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stderr


def test_the_example_of_the_readme_runs(installed):
    text = (KERNELS / "README.md").read_text()
    (example,) = re.findall(r"```python\n(# A training step.*?)```", text, flags=re.DOTALL)
    done = run(installed, example)
    assert done.returncode == 0, done.stderr
    assert "loss" in done.stdout
