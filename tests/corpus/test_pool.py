"""Several movies at a time, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np

from mien.corpus.build import open_corpus
from mien.corpus.options import Options
from mien.corpus.scan import scan
from mien.corpus.stages import STAGES

_PARENT = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from mien.corpus.stages import begin_worker
if __name__ == "__main__":
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=begin_worker) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 300).result()
"""


def _movie(path: Path, seed: int) -> None:
    noise = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(12):
            picture = noise.integers(0, 255, (64, 96, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def test_movies_side_by_side_and_a_bad_one_costs_only_itself(tmp_path: Path) -> None:
    movies, out = tmp_path / "movies", tmp_path / "out"
    movies.mkdir()
    for seed in range(3):
        _movie(movies / f"{seed}.mp4", seed)
    found = scan(movies, out)
    bad = next(movie for movie in found if movie.path.name == "1.mp4")
    bad.path.write_bytes(b"gone")
    corpus = replace(open_corpus(out, Options()), jobs=2)
    assert corpus.run() == {bad.name: "corrupt"}
    for movie in corpus.movies:
        place = corpus.place(movie)
        done = [stage for stage in STAGES if place.read(stage) is not None]
        assert done == ([] if movie == bad else list(STAGES))
        assert place.failure() == (("shots", "corrupt") if movie == bad else None)
    # What the pool wrote is what one process writes.
    alone = tmp_path / "alone"
    scan(movies, alone)
    again = open_corpus(alone, Options())
    again.run()
    for movie in again.movies:
        faces = [c.place(movie).path("faces").read_bytes() for c in (corpus, again)]
        assert faces[0] == faces[1]


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 20
    while _lives(worker):
        assert time.monotonic() < deadline, "the worker outlives its parent"
        time.sleep(0.05)


def _lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
