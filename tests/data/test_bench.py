"""The benchmark runs and every way of it reads the same images."""

from __future__ import annotations

import pytest
import torch

from mien.data import bench


def test_the_table(capsys, monkeypatch):
    monkeypatch.delenv("MIEN_DATA", raising=False)
    threads = torch.get_num_threads()
    try:
        bench.main(["--images", "64", "--size", "32", "--repeats", "1"])
    finally:
        torch.set_num_threads(threads)
    lines = capsys.readouterr().out.splitlines()
    assert "64 noise, 32 px" in lines[0]
    for name in ("decode only, same decoder", "stream, 2 workers", "webdataset, uint8"):
        (line,) = [line for line in lines if name in line]
        assert "x" in line.split()[-2]


def test_photographs_are_resized(tmp_path, wild_faces):
    shards = bench.make_set(tmp_path / "set", 64, 48, wild_faces / "images")
    assert bench.ways(shards, 48)["stream"]() == 192


def test_images_come_in_whole_batches(capsys):
    with pytest.raises(SystemExit):
        bench.main(["--images", "100"])
    assert "multiple of 64" in capsys.readouterr().err
