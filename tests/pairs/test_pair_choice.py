"""Which tracks show one person, which pictures become pairs, and what is dealt to which part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.corpus.scan import Movie
from mien.errors import DataError
from mien.pairs.blobs import BlobWriter, read_blob
from mien.pairs.build import PairSet
from mien.pairs.choose import pairs_of
from mien.pairs.options import PairOptions
from mien.systems.editing.pair_rules import UNITS

MOVIE = Movie("ab" * 32, Path("a.mp4"), 100, 100, 25.0, 1.0)
OPTIONS = PairOptions(pairs=20)


def rows(
    shot: int, track: int, who: int, first: int = 0, count: int = 5, level: float = 1.0
) -> list[dict[str, Any]]:
    """Faces whose AU12 rises by `level` from frame to frame."""
    vectors = np.eye(4)[who]
    return [
        {
            "shot": shot, "track": track, "frame": first + place, "reason": None, "who": vectors.tolist(),
            "units": [level * place * (unit == 12) for unit in UNITS],
        }
        for place in range(count)
    ]  # fmt: skip


def people(*tracks: list[dict[str, Any]]) -> dict[tuple[int, int], str]:
    pairs, _ = pairs_of(MOVIE, [row for track in tracks for row in track], OPTIONS)
    return {(pair.source["shot"], pair.source["track"]): pair.person for pair in pairs}


def test_tracks_of_one_person_are_joined_and_people_who_met_are_not() -> None:
    """The last two tracks look like the first person's, at the same time: one of them is somebody else."""
    apart = people(rows(0, 0, 0), rows(1, 0, 1, 10), rows(2, 0, 0, 20))
    assert apart == {(0, 0): "0-0", (1, 0): "1-0", (2, 0): "0-0"}
    met = people(rows(0, 0, 0), rows(1, 0, 0, 10), rows(1, 1, 0, 12))
    assert met[0, 0] == met[1, 0] == "0-0"
    assert met[1, 1] == "1-1"


def test_pairs_follow_the_rules_and_depend_on_seed_video_and_track_alone() -> None:
    both = [*rows(0, 0, 0), *rows(3, 1, 1, 50)]
    pairs, counts = pairs_of(MOVIE, both, OPTIONS)
    assert counts == {"kept": 2}
    assert all(pair.source["track"] == pair.target["track"] for pair in pairs)
    for pair in pairs:
        moved = abs(pair.source["units"][6] - pair.target["units"][6])
        assert pair.source is pair.target or moved >= OPTIONS.change
    directions = {(pair.source["frame"], pair.target["frame"]) for pair in pairs}
    assert (0, 4) in directions
    assert (4, 0) in directions
    alone, _ = pairs_of(MOVIE, rows(3, 1, 1, 50), OPTIONS)
    names = [(pair.source["frame"], pair.target["frame"]) for pair in pairs if pair.source["shot"] == 3]
    assert [(pair.source["frame"], pair.target["frame"]) for pair in alone] == names
    other, _ = pairs_of(MOVIE, both, OPTIONS.model_copy(update={"seed": 1}))
    assert [id(pair.source) for pair in other] != [id(pair.source) for pair in pairs]


def test_tracks_without_a_lesson_are_counted() -> None:
    unread = [{**row, "reason": "unread"} for row in rows(2, 0, 2)]
    pairs, counts = pairs_of(MOVIE, [*rows(0, 0, 0, count=1), *rows(1, 0, 1, level=0.1), *unread], OPTIONS)
    assert pairs == []
    assert counts == {"too_few_faces": 1, "unmoved": 1}


@pytest.mark.parametrize(("split", "units"), [("video", 4), ("identity", 8)])
def test_videos_or_people_are_dealt_whole(split: str, units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {}
    for number in range(4):
        movie = Movie(f"{number:064x}"[::-1], Path("x.mp4"), 1, 1, 1.0, 1.0)
        made[movie.name] = pairs_of(movie, [*rows(0, 0, 0), *rows(1, 0, 1, 10)], OPTIONS)
    options = PairOptions.model_validate({"split": split, "parts": {"train": 0.5, "val": 0.5}})
    nobody: Any = None
    dealer = PairSet(Path(), options, [], nobody)
    monkeypatch.setattr(PairSet, "pairs", made)
    parts = dealer.split()
    assert len(parts) == units
    assert sorted(parts.values()) == ["train"] * (units // 2) + ["val"] * (units // 2)
    assert {dealer.dealt(name, pair) for name, (pairs, _) in made.items() for pair in pairs} == parts.keys()


def test_a_damaged_file_of_pictures_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    with BlobWriter(path) as blob:
        places = [blob.add(b"first"), blob.add(b"second")]
        assert not path.exists()
        blob.finish()
    assert [read_blob(path, place) for place in places] == [b"first", b"second"]
    path.write_bytes(b"firstsecomd")
    assert read_blob(path, places[0]) == b"first"
    with pytest.raises(DataError, match="damaged at byte 5"):
        read_blob(path, places[1])
    path.unlink()
    with pytest.raises(DataError, match="No such file"):
        read_blob(path, places[0])
