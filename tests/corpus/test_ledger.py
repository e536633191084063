"""A ledger goes on after a death at any byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.corpus.ledger import Writer, locked, read
from mien.errors import DataError


def _write(path: Path, units: int, start: int = 0, finish: bool = True) -> None:
    with Writer(path, "faces", "k") as ledger:
        for unit in range(max(start, ledger.done + 1), units):
            for row in range(2):
                ledger.add({"shot": unit, "row": row, "text": "é"})
            ledger.close_unit(unit)
        if finish:
            ledger.finish({"kept": 2 * units})


def test_killed_at_any_byte_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    whole, part = tmp_path / "a.jsonl", tmp_path / "b.jsonl.part"
    _write(whole, 3)
    data = whole.read_bytes()
    for size in range(len(data)):
        part.write_bytes(data[:size])
        _write(tmp_path / "b.jsonl", 3)
        assert (tmp_path / "b.jsonl").read_bytes() == data
        (tmp_path / "b.jsonl").unlink()


def test_complete_units_are_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    _write(path, 2, finish=False)
    with Writer(path, "faces", "k") as ledger:
        assert ledger.done == 1
        assert [row["shot"] for row in ledger.rows] == [0, 0, 1, 1]


def test_another_key_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    _write(path, 2)
    assert read(path, "other") is None
    _write(tmp_path / "b.jsonl", 2, finish=False)
    with Writer(tmp_path / "b.jsonl", "faces", "other") as ledger:
        assert ledger.done == -1
        ledger.finish({})
    assert read(tmp_path / "b.jsonl", "other").rows == []  # type: ignore[union-attr]


def test_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    _write(path, 2)
    path.write_bytes(path.read_bytes().replace(b'"row"', b'"ro', 1))
    with pytest.raises(DataError, match="damaged ledger"):
        read(path, "k")


def test_two_processes_do_not_share_a_movie(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from mien.corpus.ledger import locked\n"
        "with locked(Path(sys.argv[1]), 0.3): pass"
    )
    with locked(tmp_path):
        told = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert "another process works here" in told.stderr
    again = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
