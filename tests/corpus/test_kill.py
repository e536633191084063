"""SIGKILL in the middle of stages, and the same shards as without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from corpus.conftest import OPTIONS
from corpus.corpus_double import Slow
from mien.corpus.build import Corpus
from mien.corpus.caption_stage import LEAST
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
