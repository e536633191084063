from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.benchmarks import clips
from mien.benchmarks.clip_making import write_video
from mien.benchmarks.clips import clip_frames, frame_indices
from mien.data import video
from mien.errors import DataError

# Far apart after chroma subsampling and lossy coding.
COLOURS = np.array(
    [[200, 30, 30], [30, 200, 30], [30, 30, 200], [200, 200, 30], [30, 200, 200], [200, 30, 200]], np.uint8
)


def _solid(colours: np.ndarray, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.broadcast_to(colours[:, None, None], (len(colours), *size, 3)).copy()


def _video(path: Path, frames: int = 24) -> Path:
    write_video(path, _solid(COLOURS[np.arange(frames) * 6 // frames]))
    return path


def _means(found: np.ndarray) -> np.ndarray:
    return found.mean(axis=(2, 3))


def test_even_takes_the_centres_of_segments() -> None:
    assert frame_indices(32, 16) == list(range(1, 32, 2))
    assert frame_indices(16, 16) == list(range(16))
    assert frame_indices(3, 6) == [0, 0, 1, 1, 2, 2]
    assert frame_indices(1, 4) == [0, 0, 0, 0]
    assert frame_indices(100, 1) == [50]
    for length in (17, 40, 333):
        expected = [int(length / 16 / 2 + length / 16 * segment) for segment in range(16)]
        assert frame_indices(length, 16) == expected


def test_expclip_collapses_short_clips_to_frame_zero() -> None:
    assert frame_indices(16, 16, "expclip") == [0] * 16
    assert frame_indices(3, 16, "expclip") == [0] * 16
    assert frame_indices(17, 16, "expclip") == frame_indices(17, 16)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "clip.flv"])
def test_frames_of_a_video_are_the_wanted_ones_in_rgb(tmp_path: Path, name: str) -> None:
    found = clip_frames((_video(tmp_path / name),), 6)
    assert found.shape == (6, 3, 48, 64)
    assert found.dtype == np.uint8
    assert np.abs(_means(found) - COLOURS).max() < 16


def test_short_videos_repeat_frames_or_collapse(tmp_path: Path) -> None:
    path = _video(tmp_path / "short.mp4", 6)
    assert np.abs(_means(clip_frames((path,), 12)) - COLOURS.repeat(2, 0)).max() < 16
    collapsed = clip_frames((path,), 12, "expclip")
    assert (collapsed == collapsed[:1]).all()
    assert np.abs(_means(collapsed) - COLOURS[:1]).max() < 16


def test_frame_files_come_back_exactly(tmp_path: Path) -> None:
    media = []
    for number, picture in enumerate(_solid(COLOURS)):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
        media.append(tmp_path / f"{number}.png")
    found = clip_frames(media, 3)
    assert (found.transpose(0, 2, 3, 1) == _solid(COLOURS[[1, 3, 5]])).all()


def test_only_wanted_frames_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    stack = np.stack
    monkeypatch.setattr(video.np, "stack", lambda parts: kept.append(len({*map(id, parts)})) or stack(parts))
    clip_frames((_video(tmp_path / "a.mp4", 60),), 4)
    assert kept == [4]


def test_a_cut_off_video_gives_the_frames_that_are_there(tmp_path: Path) -> None:
    path = _video(tmp_path / "cut.flv")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    found = clip_frames((path,), 4)
    assert found.shape == (4, 3, 48, 64)
    assert np.abs(_means(found)[0] - COLOURS[0]).max() < 16


def _fails(media: tuple[Path, ...], message: str) -> None:
    with pytest.raises(DataError) as caught:
        clip_frames(media, 4)
    assert str(caught.value) == message


def test_bad_files_are_named_with_a_mending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    _fails((path,), f"{path}: no such file; copy the set again")
    path.write_bytes(b"")
    _fails((path,), f"{path}: file is empty; copy the file again")
    path.write_bytes(b"not a video " * 50)
    _fails((path,), f"{path}: no video that can be decoded; copy the file again")
    _video(path)
    monkeypatch.setattr(video, "MAX_FRAMES", 10)
    _fails((path,), f"{path}: clip of 11 frames or more, more than 10; cut it into clips")
    monkeypatch.setattr(video, "MAX_PIXELS", 1000)
    _fails((path,), f"{path}: frames of 64 x 48 pixels, more than 1000; scale the clip down")
    monkeypatch.setattr(video, "MAX_BYTES", 100)
    _fails((path,), f"{path}: file has {path.stat().st_size} bytes, more than 100; cut it into clips")


def test_bad_frame_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = tmp_path / "1.png", tmp_path / "2.png"
    Image.new("RGB", (20, 10)).save(good)
    bad.write_bytes(good.read_bytes()[:40])
    _fails((good, bad), f"{bad}: no picture that can be decoded; copy the file again")
    Image.new("RGB", (10, 20)).save(bad)
    mending = "take the frames as their owner publishes them"
    _fails((good, bad), f"{bad}: a frame of 10 x 20 pixels in a clip of 20 x 10; {mending}")
    monkeypatch.setattr(clips, "MAX_FRAMES", 1)
    monkeypatch.setattr(video, "MAX_FRAMES", 1)
    _fails((good, bad), f"{tmp_path}: clip of 2 frames or more, more than 1; cut it into clips")


def test_a_file_without_pictures_is_no_video(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    _fails((path,), f"{path}: no video stream; take the file with pictures")


def test_an_unknown_codec_is_told(tmp_path: Path) -> None:
    path = _video(tmp_path / "odd.mp4")
    content = path.read_bytes()
    assert content.count(b"avc1") >= 1
    path.write_bytes(content.replace(b"avc1", b"zzzz"))
    _fails((path,), f"{path}: codec of the video is unknown; encode the clip as h264")


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.flv", "a.jpg"])
def test_damage_anywhere_gives_frames_or_one_error(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / name
    if name == "a.jpg":
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)).save(path)
    else:
        _video(path)
    good, shapes, messages = path.read_bytes(), set(), []
    for _ in range(40):
        content = bytearray(good)
        for place in rng.integers(0, len(content), 12):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            shapes.add(clip_frames((path,), 3).shape[:2])
        except DataError as error:
            messages.append(str(error))
    assert shapes == {(3, 3)}
    assert all(message.startswith(f"{path}: ") for message in messages)
