from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2] / "kernels" / "benchmarks"


@pytest.fixture
def backend():
    """In place of the one of this folder: benchmarks name theirs."""


def run(*arguments):
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("stem", "peer", "sizes", "ways"),
    [  # each way and size is a process
        ("contrast", "open_clip", (48,), {"open_clip", "autograd", "dense", "chunked"}),
        ("mine", "dense", (48, 96), {"dense", "chunked"}),
        ("group_patches", "dense", (96,), {"dense", "chunked"}),
    ],
)
def test_a_benchmark_prints_and_writes_what_it_measured(tmp_path, stem, peer, sizes, ways):
    done = run(
        HERE / f"{stem}.py",
        "--sizes",
        *sizes,
        "--depths",
        16,
        "--repeats",
        1,
        "--out",
        tmp_path,
        "--ways",
        *ways,
    )
    assert done.returncode == 0, done.stderr
    (table,) = tmp_path.glob(f"{stem}-*.csv")
    rows = list(csv.DictReader(table.open()))
    assert {(row["way"], row["size"]) for row in rows} == {(way, str(size)) for way in ways for size in sizes}
    assert all(float(row["seconds"]) > 0 and float(row["error"]) < 1e-4 for row in rows)
    assert table.with_suffix(".svg").read_text().count("<path") > 20
    printed = table.with_suffix(".md").read_text()
    assert printed in done.stdout
    assert f"| {peer} |" in printed


def test_tuning_needs_a_card(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = run("-m", "mien_kernels.triton.tune")
    assert done.returncode == 2
    assert "no CUDA device" in done.stderr
