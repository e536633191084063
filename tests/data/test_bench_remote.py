"""The benchmark of remote sets runs, and its tables state what the servers counted."""

from __future__ import annotations

import pytest
import torch

from mien.data import bench_remote


def test_the_tables(capsys, monkeypatch):
    for name in (*bench_remote.CREDENTIALS, "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, "restored afterwards")
    threads = torch.get_num_threads()
    try:
        bench_remote.main(["--images", "512", "--size", "32", "--rounds", "1"])
    finally:
        torch.set_num_threads(threads)
    lines = [line for line in capsys.readouterr().out.splitlines() if "│" in line]
    cells = {row[0]: row[1:] for row in ([cell.strip() for cell in line.split("│")[1:-1]] for line in lines)}
    for kind in ("http", "s3"):
        assert float(cells[f"{kind}, shards, cold cache"][4]) == pytest.approx(1, abs=0.02)
        assert float(cells[f"{kind}, shards, warm cache"][4]) < 0.1  # the index
        parts = [float(cells[f"{kind}, ranges, node {node} of 2"][4]) for node in (0, 1)]
        assert sum(parts) == pytest.approx(1, abs=0.1)
        assert all(float(quarter) > 0 for quarter in cells[kind][:4])


def test_images_come_in_whole_blocks(capsys):
    with pytest.raises(SystemExit):
        bench_remote.main(["--images", "100"])
    assert "multiple of 512" in capsys.readouterr().err
