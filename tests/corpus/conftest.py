"""A movie of seven short shots, and the corpus that an undisturbed build makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.corpus.build import Corpus, open_corpus
from mien.corpus.options import Options
from mien.corpus.scan import scan
from mien.faces.movie_draw import make_movie

OPTIONS = Options(side=88, rate=3)


def build(movies: Path, out: Path, options: Options = OPTIONS) -> Corpus:
    """Scan, run all stages of each movie, split and write shards, in this process."""
    out.mkdir(parents=True, exist_ok=True)
    options.save(out)
    scan(movies, out)
    corpus = open_corpus(out, options)
    assert corpus.run() == {}
    corpus.split()
    corpus.shards()
    return corpus


@pytest.fixture(scope="session")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with movie.mp4 and truth.json: 10 s, 5 people, 7 shots."""
    out = tmp_path_factory.mktemp("movie") / "m"
    size = {"width": 640, "height": 400, "fps": 8}
    return make_movie(out, seconds=10, people=5, seed=4, shot_seconds=1.25, progress=False, **size)


@pytest.fixture(scope="session")
def corpus(movie: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The finished corpus of that movie; tests must not change it."""
    return build(movie, tmp_path_factory.mktemp("corpus") / "c")
