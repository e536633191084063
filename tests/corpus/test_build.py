"""A whole build on a movie whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.corpus.build import Corpus, open_corpus, parse_part
from mien.corpus.options import load_options
from mien.corpus.report import count, table, write_report
from mien.corpus.score import score
from mien.corpus.stages import STAGES
from mien.data.check import check
from mien.data.reader import ShardSet
from mien.errors import DataError
from mien.faces.movie import KEYS, load_truth


def test_found_what_is_true(corpus: Corpus, movie: Path) -> None:
    told = score(corpus.place(corpus.movies[0]), load_truth(movie))
    assert told["shot_f1"] == 1
    assert told["true_tracks"] >= 4
    assert told["track_recall"] == 1
    assert told["track_purity"] == 1
    assert told["false_faces"] == 0
    assert told["gate_precision"] == 1
    assert told["blurred_passed"] == told["small_passed"] == told["profile_passed"] == 0
    assert told["yaw_mae"] < 5
    assert told["copies"] > 0
    assert told["copy_precision"] == 1
    assert told["copy_recall"] > 0.8


def test_the_truth_tells_what_each_face_does_at_each_moment(corpus: Corpus, movie: Path) -> None:
    truth = load_truth(movie)
    tracks = [track for shot in truth["shots"] for track in shot["tracks"]]
    assert all(len(track["units"]) == KEYS for track in tracks)
    strengths = [[sum(map(max, moment.values())) for moment in track["units"]] for track in tracks]
    assert np.mean([third > first for first, _, third, _ in strengths]) > 0.7, "courses rise to the third"


def test_shards_are_sound_and_tell_where_each_face_is_from(corpus: Corpus) -> None:
    folder = corpus.out / "shards" / "train"
    check(folder).raise_if_bad()
    samples = list(ShardSet(folder))
    movie = corpus.movies[0]
    for sample in samples:
        record = sample.record
        name, shot, frame, face = sample.key.split("_")
        assert (name, int(shot), int(frame)) == (movie.name, record["shot"], record["frame"])
        assert face.isdigit()
        assert record["movie"] == movie.number
        assert record["group"] == f"m{movie.name}"
        x, y, width, height = record["bbox"]
        assert max(width, height) * 1.3 == pytest.approx(256, abs=1)
        assert (x + width / 2, y + height / 2) == pytest.approx((128, 128), abs=1)
        assert all(x < px < x + width and y < py < y + height for px, py in record["lm5"])
    assert len({sample.record["uid"] for sample in samples}) == len(samples)
    assert len({sample.record["shot"] for sample in samples}) > 2


def test_counts_add_up_and_every_face_left_out_has_a_reason(corpus: Corpus) -> None:
    counts = count(corpus)
    place = corpus.place(corpus.movies[0])
    rows = place.need("gates").rows
    assert sum(counts["gates"].values()) == counts["faces"]["kept"] == len(rows)
    assert sum(counts["dedup"].values()) == counts["gates"]["kept"]
    assert counts["split"]["train"] == counts["dedup"]["kept"]
    reasons = {row["reason"] for row in rows}
    assert {"blurred", "small", "not_chosen", None} <= reasons
    assert f"blurred {counts['gates']['blurred']}" in table(counts)


def test_report_shows_the_faces(corpus: Corpus) -> None:
    write_report(corpus)
    told = json.loads((corpus.out / "report.json").read_text())
    assert told["dedup"]["kept"] == len(list(ShardSet(corpus.out / "shards" / "train")))
    assert np.asarray(Image.open(corpus.out / "sheet.png")).std() > 20


def test_a_second_build_does_nothing_and_other_options_only_what_they_touch(
    corpus: Corpus,
) -> None:
    place = corpus.place(corpus.movies[0])
    before = {stage: place.path(stage).stat().st_mtime_ns for stage in STAGES}
    shards = (corpus.out / "shards").stat().st_ino
    assert corpus.run() == {}
    corpus.shards()
    assert {stage: place.path(stage).stat().st_mtime_ns for stage in STAGES} == before
    assert (corpus.out / "shards").stat().st_ino == shards
    other = open_corpus(corpus.out, load_options(corpus.out, ["yaw=20"])).place(corpus.movies[0])
    assert [stage for stage in STAGES if other.read(stage) is None] == ["gates", "dedup"]


@pytest.mark.parametrize("part", ["2/2", "-1/2", "1", "a/b", "1/0", "/"])
def test_a_part_that_is_none_is_refused(part: str) -> None:
    with pytest.raises(DataError, match="--part"):
        parse_part(part)


def test_parts_of_jobs_hold_each_movie_once(corpus: Corpus, tmp_path: Path) -> None:
    lines = []
    for number in range(7):
        sha = f"{number:064x}"
        facts = {"width": 64, "height": 64, "fps": 25.0, "seconds": 1.0}
        lines.append(json.dumps({"path": f"/m/{number}", "sha": sha, "facts": facts, "reason": None}))
    (tmp_path / "movies.jsonl").write_text("\n".join(lines) + "\n")
    shares = [open_corpus(tmp_path, corpus.options, f"{i}/3").movies for i in range(3)]
    assert sorted(len(share) for share in shares) == [2, 2, 3]
    assert len({movie.sha for share in shares for movie in share}) == 7


@pytest.mark.parametrize(("change", "told"), [("rat=2", "rat"), ("rate=-1", "rate"), ("rate", "write it")])
def test_an_option_that_does_not_fit_is_told(tmp_path: Path, change: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        load_options(tmp_path, [change])
