"""Odd, damaged and hostile video files."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from mien.corpus.scan import read_scan, same_title, scan, scan_counts
from mien.corpus.video import VideoError, probe, read_frames
from mien.errors import DataError


def _encode(
    path: Path,
    pictures: list[np.ndarray],
    times: list[int] | None = None,
    turn: int = 0,
    codec: str = "libx264",
    aspect: Fraction | None = None,
) -> Path:
    """`times` in ms; each frame is shown from its own time on."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if times:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn:
            stream.set_display_rotation(turn)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _picture(value: int = 40, height: int = 64, width: int = 96) -> np.ndarray:
    """Dark, with a bright patch at the upper left."""
    picture = np.full((height, width, 3), value, np.uint8)
    picture[: height // 3, : width // 3] = 220
    return picture


def _sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        for number in range(4):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, 1024 * number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("turn", "corner"), [(90, (-1, 0)), (180, (-1, -1)), (270, (0, -1))])
def test_a_rotated_video_is_upright(tmp_path: Path, turn: int, corner: tuple[int, int]) -> None:
    path = _encode(tmp_path / "a.mp4", [_picture()] * 3, turn=turn)
    facts = probe(path)
    picture = next(read_frames(path)).picture()
    assert picture.shape == ((64, 96, 3) if turn == 180 else (96, 64, 3))
    assert (facts.height, facts.width) == picture.shape[:2]
    # Counter-clockwise by a quarter, the upper left corner comes to the lower left.
    ends = [picture[r, c].mean() for r, c in [(3, 3), (3, -4), (-4, 3), (-4, -4)]]
    bright = [(0, 0), (0, -1), (-1, 0), (-1, -1)][int(np.argmax(ends))]
    assert bright == corner


@pytest.mark.parametrize(
    ("aspect", "turn", "shape"),
    [(Fraction(2), 0, (64, 192)), (Fraction(1, 2), 0, (128, 96)), (Fraction(2), 90, (192, 64))],
)
def test_pixels_that_are_not_square_are_made_so(
    tmp_path: Path, aspect: Fraction, turn: int, shape: tuple[int, int]
) -> None:
    path = _encode(tmp_path / "a.mp4", [_picture()] * 3, turn=turn, aspect=aspect)
    facts = probe(path)
    assert (facts.height, facts.width) == shape
    frame = next(read_frames(path))
    assert frame.picture().shape == (*shape, 3)
    assert frame.picture(32).shape == (32, round(32 * shape[1] / shape[0]), 3)


def test_frames_have_their_own_times(tmp_path: Path) -> None:
    times = [0, 40, 1000, 1033, 5000]
    path = _encode(tmp_path / "a.mkv", [_picture(20 * n) for n in range(5)], times)
    frames = list(read_frames(path))
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.t_ms for frame in frames] == pytest.approx(times, abs=2)


def test_a_picture_is_shrunk_never_enlarged(tmp_path: Path) -> None:
    frame = next(read_frames(_encode(tmp_path / "a.mp4", [_picture()])))
    assert frame.picture(32).shape == (32, 48, 3)
    assert frame.picture(500).shape == (64, 96, 3)


def test_every_kind_of_bad_file_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    movies = tmp_path / "movies"
    movies.mkdir()
    good = _encode(movies / "good.mp4", [_picture(n) for n in range(20)])
    (movies / "twin.mp4").write_bytes(good.read_bytes())
    (movies / "nothing.mp4").write_bytes(b"")
    (movies / "noise.mkv").write_bytes(np.random.default_rng(0).bytes(4096))
    (movies / "half.mp4").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    _sound(movies / "sound.mp4")
    _encode(movies / "The.Long.Night.1999.1080p.mp4", [_picture(90)] * 3)
    _encode(movies / "wide.mp4", [_picture(1, 1024, 2048)])
    (movies / "notes.txt").write_text("no movie")
    monkeypatch.setattr("mien.corpus.video.LARGEST_FRAME", 1024 * 1024)
    titles = tmp_path / "titles.txt"
    titles.write_text("# of a benchmark\nLong Night, The (1999)\nAnother One\n")
    found = scan(movies, tmp_path / "out", titles)
    counts = scan_counts(read_scan(tmp_path / "out"))
    assert [movie.path.name for movie in found] == ["good.mp4"]
    assert counts["kept"] == counts["duplicate_file"] == counts["no_video"] == 1
    assert counts["too_large"] == counts["excluded"] == 1
    assert counts["corrupt"] + counts["empty"] == 3
    # The list holds in later scans, too.
    assert len(scan(movies, tmp_path / "out")) == 1


def test_a_damaged_middle_is_skipped_and_told(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    pictures = [noise.integers(0, 255, (64, 96, 3), np.uint8) for _ in range(30)]
    path = _encode(tmp_path / "a.mpg", pictures, codec="mpeg2video")
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    path.write_bytes(data)
    frames = list(read_frames(path, []))
    assert 3 < len(frames) <= 30
    assert all(a.t_ms < b.t_ms for a, b in pairwise(frames))


def test_a_file_that_is_gone_is_a_fault_of_the_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video at all")
    with pytest.raises(VideoError, match="cannot be read") as told:
        probe(path)
    assert told.value.reason == "corrupt"


def test_a_folder_without_movies_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no movie")
    with pytest.raises(DataError, match="no movie files"):
        scan(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "title", "same"),
    [
        ("The.Godfather.1972.1080p.x264", "Godfather, The (1972)", True),
        ("godfather", "The Godfather (1972)", True),
        ("Godfather 1990", "The Godfather (1972)", False),
        ("Amélie_2001", "Amelie", True),
        ("1917.2019.mkv", "1917 (2019)", True),
        ("The Godfather Part II", "The Godfather", False),
        ("anything", "...", False),
    ],
)
def test_titles_meet_files(file: str, title: str, same: bool) -> None:
    assert same_title(file, title) is same
