"""Every sub-command of `mien data emocap` on a finished corpus and on bad input."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.cli_corpus import emocap
from mien.corpus.build import Corpus
from mien.errors import DataError


def _run(*words: str) -> str:
    done = CliRunner().invoke(emocap, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def copied(corpus: Corpus, tmp_path: Path) -> Path:
    return Path(shutil.copytree(corpus.out, tmp_path / "c"))


def test_stages_one_by_one(
    copied: Path, movie: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "| scan | 1 |" in _run("scan", movie, copied)
    assert "| shots | 7 |" in _run("shots", copied)
    assert "tracks" in _run("faces", copied, "--part", "0/1")
    loose = _run("gates", copied, "--set", "per_shot=1")
    kept = int(loose.splitlines()[-1].split("|")[2])
    assert kept > 0
    assert f"not_chosen {kept}" not in loose
    after = int(_run("dedup", copied).splitlines()[-1].split("|")[2])
    assert 0 < after <= kept
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    double = ("--captioner", "corpus.corpus_double:make")
    assert f"| caption | {after} |" in _run("caption", copied, *double)
    assert " train" in _run("split", copied, *double)
    assert _run("shards", copied, *double).strip().endswith("shards")
    assert f"| split | {after} | train {after} |" in _run("report", copied, *double)
    assert "| track_recall | 1.000 |" in _run("score", copied, "--truth", movie)


def test_a_stage_without_the_one_before_says_so(copied: Path) -> None:
    next(copied.glob("work/*/faces.jsonl")).unlink()
    next(copied.glob("work/*/gates.jsonl")).unlink()
    with pytest.raises(DataError, match=r"stage faces is not done.*run `mien data emocap faces`"):
        _run("gates", copied)


def test_a_folder_that_was_not_scanned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="scan MOVIES OUT"):
        _run("report", tmp_path)


def test_no_face_left_is_told_and_leaves_no_shards(copied: Path, movie: Path) -> None:
    before = sorted(copied.glob("shards/*/*.tar"))
    with pytest.raises(DataError, match="no face is left"):
        _run("build", movie, copied, "--set", "side=4000")
    assert sorted(copied.glob("shards/*/*.tar")) == before
    assert not list(copied.glob(".*shards*"))


def test_a_damaged_crop_is_told(copied: Path) -> None:
    crops = next(copied.glob("work/*/crops.bin"))
    data = bytearray(crops.read_bytes())
    data[100] ^= 255
    crops.write_bytes(data)
    shutil.rmtree(copied / "shards")
    with pytest.raises(DataError, match="damaged crop"):
        _run("shards", copied)


def test_a_movie_that_went_away_is_counted_and_the_others_go_on(
    copied: Path, movie: Path, tmp_path: Path
) -> None:
    movies = tmp_path / "movies"
    movies.mkdir()
    shutil.copy(movie / "movie.mp4", movies / "a.mp4")
    (movies / "b.mp4").write_bytes((movie / "movie.mp4").read_bytes() + b"\0" * 8)
    _run("scan", movies, copied)
    (movies / "b.mp4").write_bytes(b"gone")
    told = _run("shots", copied)
    assert "cannot be read any more: corrupt" in told
    assert "| shots | 7 |" in told
    assert "movie_corrupt 1" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["build", "no/such", "OUT"], "no such file or folder"),
        (["build", "MOVIE", "OUT", "--captioner", "gemini"], "unknown captioner"),
        (["build", "MOVIE", "OUT", "--set", "detector=haar"], "unknown detector"),
        (["build", "MOVIE", "OUT", "--part", "8/8"], "part '8/8'"),
        (["build", "MOVIE", "OUT", "--set", "size=8"], "size: Input should be greater"),
        (["build", "MOVIE", "OUT", "--exclude", "no/such.txt"], "no such list of titles"),
        (["scan", "OUT", "OUT"], "no such file or folder"),
    ],
)
def test_bad_input_is_told_before_anything_is_written(words: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    places = {"OUT": str(tmp_path / "out"), "MOVIE": str(tmp_path / "a.mp4")}
    with pytest.raises(DataError, match=told):
        _run(*(places.get(word, word) for word in words))
    assert not (tmp_path / "out").exists()


def test_absent_packages_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mien.cli_corpus.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"cv2, scenedetect, imagehash.*pip install 'mien\[corpus\]'"):
        _run("report", str(tmp_path))
