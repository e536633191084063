"""The step of a Slurm job that takes a trial."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mien import cli_sweep
from mien.sweep import claims
from mien.sweep.claims import Claim


class _Sweep:
    """Gives what it is told to, in order."""

    def __init__(self, folder: Path, answers: list[tuple[Claim | None, bool]]) -> None:
        self.folder, self.answers = folder, answers

    def take(self, me: dict[str, object]) -> tuple[Claim | None, bool]:
        return self.answers.pop(0)

    def root(self, number: int) -> Path:
        return self.folder / f"trial-{number:04d}"


@pytest.mark.parametrize("found", [True, False])
def test_a_job_waits_while_a_holder_is_being_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: bool
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(claims, "job", lambda: {"job": "47_1"})
    end = (Claim(3, 1, {}) if found else None, False)
    sweep = _Sweep(tmp_path, [(None, True), (None, True), end])
    monkeypatch.setattr(cli_sweep, "_begin", lambda source, overrides: sweep)
    cli_sweep.take("any")
    assert len(waits) == 2
    assert not sweep.answers
    assert capsys.readouterr().out == (f"{tmp_path}/trial-0003 1\n" if found else "")
