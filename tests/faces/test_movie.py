"""A movie of the face world is what its truth says."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mien.errors import DataError
from mien.faces.movie import KINDS, MoviePlan, load_truth
from mien.faces.movie_draw import make_movie

SIZE = {"width": 320, "height": 240, "fps": 6}


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("movie") / "m"
    return make_movie(out, seconds=6, people=4, seed=1, shot_seconds=0.75, progress=False, **SIZE)


@pytest.fixture(scope="module")
def truth(movie: Path) -> dict[str, Any]:
    return load_truth(movie)


@pytest.fixture(scope="module")
def frames(movie: Path) -> np.ndarray:
    with av.open(str(movie / "movie.mp4")) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_every_frame_is_in_one_shot(truth: dict[str, Any], frames: np.ndarray) -> None:
    assert frames.shape == (36, 240, 320, 3)
    ends = [(shot["first"], shot["last"]) for shot in truth["shots"]]
    assert ends[0][0] == 0
    assert ends[-1][1] == truth["frames"] - 1 == 35
    assert all(before[1] + 1 == after[0] for before, after in pairwise(ends))
    for shot in truth["shots"]:
        length = shot["last"] - shot["first"] + 1
        assert len(shot["moments"]) == length
        assert all(len(track["boxes"]) == length for track in shot["tracks"])


def test_cuts_are_where_the_truth_has_them(truth: dict[str, Any], frames: np.ndarray) -> None:
    change = np.abs(np.diff(frames.astype(np.float32), axis=0)).mean((1, 2, 3))
    cuts = {shot["first"] - 1 for shot in truth["shots"][1:]}
    inside = [value for place, value in enumerate(change) if place not in cuts]
    assert min(change[place] for place in cuts) > 2 * max(inside)


def test_a_repeat_shows_the_take_again_a_little_darker(truth: dict[str, Any], frames: np.ndarray) -> None:
    again = next(shot for shot in truth["shots"] if shot["repeat_of"] is not None)
    take = truth["shots"][again["repeat_of"]]
    length = min(again["last"] - again["first"], take["last"] - take["first"]) + 1
    a, b = (frames[s["first"] : s["first"] + length].astype(np.float32) for s in (again, take))
    assert np.abs(a - 0.96 * b).mean() < 4
    assert [track["person"] for track in again["tracks"]] == [track["person"] for track in take["tracks"]]


def test_boxes_hold_the_faces(truth: dict[str, Any], frames: np.ndarray) -> None:
    shot = next(shot for shot in truth["shots"] if shot["kind"] == "plain")
    empty = np.median(frames[shot["first"]], axis=(0, 1))
    for track in shot["tracks"]:
        x, y, width, height = (round(v) for v in track["boxes"][0])
        inside = frames[shot["first"], max(y, 0) : y + height, max(x, 0) : x + width]
        assert inside.size
        assert inside.std() > 12  # eyes, brows and mouth against skin
        assert np.abs(inside.mean((0, 1)) - empty).max() > 5


def test_kinds_are_what_they_are_called() -> None:
    plan = MoviePlan(120, 12, 0)
    shots = plan.shots()
    assert {shot.kind for shot in shots} == set(KINDS)
    for shot in shots:
        assert (shot.repeat_of is not None) <= (shot.kind == "repeat")
        assert bool(shot.actors) == (shot.kind != "empty")
        for actor in shot.actors:
            assert (actor.blur > 0) == (shot.kind == "blurred")
            assert (abs(actor.yaw) > 60) == (shot.kind == "profile")
            assert (max(actor.side) * 0.385 < 90) == (shot.kind == "small")
    assert len({actor.person for shot in shots for actor in shot.actors}) == 12


def test_the_seed_decides_everything() -> None:
    assert MoviePlan(60, 5, 3).shots() == MoviePlan(60, 5, 3).shots()
    assert MoviePlan(60, 5, 3).shots() != MoviePlan(60, 5, 4).shots()


@pytest.mark.parametrize(
    "change", [{"seconds": 0}, {"people": 0}, {"seed": -1}, {"fps": 0}, {"width": 321}, {"height": 100}]
)
def test_numbers_that_make_no_movie_are_refused(tmp_path: Path, change: dict[str, int]) -> None:
    wish: dict[str, Any] = {"seconds": 2, "people": 1, "progress": False, **SIZE, **change}
    with pytest.raises(DataError):
        make_movie(tmp_path / "m", **wish)
    assert not (tmp_path / "m").exists()


def test_a_folder_without_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no truth"):
        load_truth(tmp_path)
    (tmp_path / "truth.json").write_text("{}")
    with pytest.raises(DataError, match="not the truth"):
        load_truth(tmp_path)
