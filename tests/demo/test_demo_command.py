"""`mien demo` before there is a page: help, a missing package, a port in use, a wrong run."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import pytest

from editing_runs import untrained
from mien import cli
from mien.demo.server import HOST, bind
from mien.errors import MienError


def mien(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["mien", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_help_shows_an_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert mien(monkeypatch, "demo", "--help") == 0
    assert "Example: mien demo checkpoints/" in capsys.readouterr().out


def test_without_gradio_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "gradio" else found(name, *rest)
    )
    assert mien(monkeypatch, "demo", tmp_path) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "mien demo: the page needs Gradio; pip install 'mien[demo]'\n")


def test_a_port_in_use_is_told() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(MienError, match=rf"--port: port {port} cannot be used: .*; give another one"):
            bind(port)
        with bind(None) as door:
            assert door.getsockname()[0] == HOST
            assert door.getsockname()[1] != port


def test_a_run_of_another_system_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("gradio")
    reader = untrained(tmp_path, "facereader/tiny", "model.widths=[8,8,8,8]")
    assert mien(monkeypatch, "demo", reader, "--port", 0, "--no-browser") == 2
    assert "a run of facereader edits no faces" in capsys.readouterr().err
