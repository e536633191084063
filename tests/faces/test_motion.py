from __future__ import annotations

import numpy as np
import pytest

from mien.faces.emotions import sample_expression
from mien.faces.motion import Clip, envelope, make_clip
from mien.faces.person import sample_person


def _clip(emotion: str = "surprise", seed: int = 4, frames: int = 12) -> Clip:
    rng = np.random.default_rng(seed)
    expression = sample_expression(emotion, rng, 1.0, incidental=False)
    return make_clip(sample_person(1), expression, rng, frames=frames, size=32)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return _clip()


def test_a_clip_is_a_function_of_its_seed(clip: Clip) -> None:
    assert clip.frames.shape == (12, 32, 32, 3)
    assert clip.frames.dtype == np.uint8
    assert (_clip().frames == clip.frames).all()
    assert (_clip(seed=5).frames != clip.frames).any()


@pytest.mark.parametrize("seed", range(20))
def test_strength_rises_from_rest_to_an_apex_and_falls(seed: int) -> None:
    strength = envelope(40, np.random.default_rng(seed))
    apex = int(strength.argmax())
    assert strength[0] < 0.15
    assert strength[apex] == 1.0
    assert strength[-1] < 0.6
    assert (np.diff(strength[: apex + 1]) >= 0).all()
    held = np.flatnonzero(strength >= 0.999)
    assert (np.diff(strength[held[-1] :]) <= 0).all()


def test_a_clip_of_one_frame_shows_the_apex() -> None:
    assert envelope(1, np.random.default_rng(0)).tolist() == [1.0]


def test_the_apex_looks_unlike_rest(clip: Clip) -> None:
    frames = clip.frames.astype(float)
    rest = np.abs(frames[1] - frames[0]).mean()
    assert np.abs(frames[clip.apex] - frames[0]).mean() > 1.5 * rest


def test_head_and_gaze_move_little_and_the_scene_stays(clip: Clip) -> None:
    assert 0.2 < np.ptp(clip.pose, axis=0).max() < 6.5
    assert np.abs(np.diff(clip.pose, axis=0)).max() < 3
    assert np.ptp(clip.gaze, axis=0).max() > 0
    # The corner shows background only.
    assert np.ptp(clip.frames[:, :3, :3].astype(float).mean((1, 2)), axis=0).max() < 8


def test_blinks_come_in_many_clips_but_not_at_the_apex() -> None:
    clips = [_clip("neutral", seed, 10) for seed in range(6)]
    assert any(clip.blink.max() > 0.4 for clip in clips)
    assert all(clip.blink[clip.strength >= 0.9].max() == 0 for clip in clips)


def test_no_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="a clip of 0 frames"):
        _clip(frames=0)
