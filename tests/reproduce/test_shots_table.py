"""The table of few shots, on colours that are their class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.suite.colours import CLASSES, ColourEncoder, picture_set
from mien.errors import DataError
from mien.evaluation.suite.runner import Subject
from mien.reproduce import __main__ as command
from mien.reproduce import shots


def test_shots_table_has_a_row_for_each_number_of_shots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Colours that are their class: every C is right, and the table says so in both kinds of columns."""
    toy = picture_set(tmp_path / "set", [(name, name) for name in CLASSES * 6], folds=2)
    items = [replace(item, fold=1 + i // 9) for i, item in enumerate(toy.open(tmp_path / "set"))]
    folded = replace(toy, read=lambda _: items)
    monkeypatch.setattr(shots, "SHOTS", (1, 4))
    monkeypatch.setattr(shots, "find", lambda root: {"toy": root / "set"})
    monkeypatch.setattr(shots, "get", lambda name: folded)
    monkeypatch.setattr(shots, "open_subject", lambda run: Subject("toy", "w", ColourEncoder()))
    command.app(["shots", "run", "--root", str(tmp_path), "--draws", "1"], standalone_mode=False)
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("| shots | cases | C = 0.001 | 0.03 / D |")
    assert [row.split("|")[1].strip() for row in rows] == ["1", "4"]
    assert all(row.split("|")[2:] == [" 2 ", *[" 100.0 "] * 10, ""] for row in rows)
    plain = replace(toy, folds=0)
    monkeypatch.setattr(shots, "get", lambda name: plain)
    with pytest.raises(DataError, match="no benchmark with classes and a train split or folds"):
        shots.reproduce([tmp_path], tmp_path)
