"""SIGKILL in the middle of stages, and the same shards as without."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.conftest import OPTIONS
from corpus.corpus_double import Slow
from mien.corpus import kills
from mien.corpus.build import Corpus
from mien.corpus.caption_gates import judge
from mien.corpus.caption_stage import LEAST
from mien.corpus.captioning import open_captioner
from mien.data import index

HERE = Path(__file__).parent


def _start(movie: Path, out: Path, calls: Path) -> subprocess.Popen[bytes]:
    words = ["build", str(movie), str(out), "--captioner", "corpus_double:make", "--jobs", "2"]
    path = f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    return subprocess.Popen(
        [sys.executable, "-m", "mien", "data", "emocap", *words],
        env={**os.environ, "PYTHONPATH": path, "CALLS": str(calls)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _kill_when(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not ready():
        assert process.poll() is None, process.stdout and process.stdout.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def _lines(folder: Path, pattern: str) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob(f"work/*/{pattern}"))


def test_killed_in_faces_and_in_captions_it_makes_the_same_shards(
    movie: Path, corpus: Corpus, tmp_path: Path
) -> None:
    out, calls = tmp_path / "c", tmp_path / "calls"
    out.mkdir()
    OPTIONS.save(out)
    kept = len(corpus.staying(corpus.movies[0]))
    _kill_when(_start(movie, out, calls), lambda: b'{"unit": 2}' in b"".join(_parts(out)))
    part = next(out.glob("work/*/faces.jsonl.part"))
    complete = part.read_bytes()[: part.read_bytes().rindex(b'{"unit": 2}')]
    _kill_when(_start(movie, out, calls), lambda: _lines(out, "captions-*.jsonl") >= 3)
    faces = next(out.glob("work/*/faces.jsonl")).read_bytes()
    assert faces.startswith(complete), "complete shots were made again"
    last = _start(movie, out, calls)
    told, _ = last.communicate(timeout=240)
    assert last.returncode == 0, told.decode()
    place = corpus.place(corpus.movies[0])
    for stage in ("shots", "faces", "gates", "dedup"):
        assert next(out.glob(f"work/*/{stage}.jsonl")).read_bytes() == place.path(stage).read_bytes()
    # A call whose answer had not come yet when the process died is made again, no other one.
    twice = [count for count in Counter(calls.read_text().split()).values() if count > 1]
    assert len(twice) <= 4
    assert index.load(out / "shards" / "train").samples == kept
    whole = replace(corpus, captioner=Slow(), judge=LEAST, out=out)
    assert whole.caption()["kept"] == kept
    assert f"| caption | {kept} |".encode() in told


def _parts(out: Path) -> list[bytes]:
    return [path.read_bytes() for path in out.glob("work/*/faces.jsonl.part")]


def test_the_captioner_of_random_kills_passes_the_gates_and_notes_its_calls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(kills.CALLS, str(tmp_path / "calls"))
    captioner = open_captioner("mien.corpus.kills:make_captioner")
    assert captioner is not None
    assert judge(captioner(b"a picture", None).record()) == []
    assert len((tmp_path / "calls").read_text().split()) == 1


def test_random_kills_compare_what_must_be_the_same(corpus: Corpus, tmp_path: Path) -> None:
    found = kills.contents(corpus.out)
    assert {Path(name).name for name in found} >= {"faces.jsonl", "gates.jsonl", "index.json"}
    other = Path(shutil.copytree(corpus.out, tmp_path / "c"))
    assert kills.contents(other) == found
    next(other.glob("work/*/dedup.jsonl")).write_text("{}\n")
    assert kills.contents(other) != found
