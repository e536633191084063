"""Frames by time stamp equal those by number, little is decoded for them, and limits hold."""

from __future__ import annotations

import contextlib
from pathlib import Path

import av
import numpy as np
import pytest

from mien.data import video_times
from mien.data.video import Limits, read_frames
from mien.data.video_times import middles, read_timed_frames
from mien.errors import DataError

WIDE = Limits(1 << 20, 64 * 64, 1000)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """100 frames, each a little brighter, 20 a second, a key frame every ten."""
    path = tmp_path_factory.mktemp("video") / "ramp.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20, options={"g": "10", "crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for number in range(100):
            picture = np.full((32, 48, 3), 20 + 2 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("chosen", [[0], [99], [3, 4, 57], list(range(100)), [9, 10, 11, 90]])
def test_frames_by_stamp_are_the_frames_by_number(clip: Path, chosen: list[int]):
    frames, times = read_timed_frames(clip, lambda total: chosen, WIDE)
    expected = read_frames(clip, lambda total: chosen).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(np.stack(frames), expected)
    np.testing.assert_allclose(times, np.array(chosen) / 20, atol=1e-6)


def test_middles_name_no_frame_twice():
    assert middles(4)(100) == [12, 37, 62, 87]
    assert middles(16)(3) == [0, 1, 2]


def test_only_what_lies_near_is_decoded(clip: Path, monkeypatch: pytest.MonkeyPatch):
    decoded = []

    class Counting:
        def __init__(self, container):
            self._container = container

        def __getattr__(self, name):
            return getattr(self._container, name)

        def decode(self, stream):
            for frame in self._container.decode(stream):
                decoded.append(frame.pts)
                yield frame

    opened = video_times.opened

    @contextlib.contextmanager
    def spy(*args):
        with opened(*args) as container:
            yield Counting(container)

    monkeypatch.setattr(video_times, "opened", spy)
    read_timed_frames(clip, lambda total: [2, 85], WIDE)
    assert len(decoded) <= 3 + 10  # frames 0 to 2, then at most a group before frame 85


def test_a_turned_camera_is_turned_back(clip: Path, monkeypatch: pytest.MonkeyPatch):
    plain = read_timed_frames(clip, lambda total: [5], WIDE)[0][0]
    monkeypatch.setattr(av.VideoFrame, "rotation", 90, raising=False)
    turned = read_timed_frames(clip, lambda total: [5], WIDE)[0][0]
    np.testing.assert_array_equal(turned, np.rot90(plain))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(100, 64 * 64, 1000), "bytes, more than 100"),
        (Limits(1 << 20, 1000, 1000), "frames of 48 x 32 pixels, more than 1000"),
        (Limits(1 << 20, 64 * 64, 99), "clip of 100 frames or more, more than 99"),
    ],
)
def test_limits_are_those_that_were_given(clip: Path, limits: Limits, words: str):
    with pytest.raises(DataError, match=words):
        read_timed_frames(clip, middles(3), limits)


def test_what_is_no_video_is_told(clip: Path, tmp_path: Path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(DataError, match="no video that can be decoded"):
        read_timed_frames(broken, middles(3), WIDE)
