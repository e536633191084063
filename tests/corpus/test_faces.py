"""Detector, measures, tracks, crops, copies and split, one by one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mien.corpus.dedup import perceptual_hash
from mien.corpus.detect import open_detector
from mien.corpus.gates import choose, crop, gate, square
from mien.corpus.measure import VIEW, aligned, averaged, share_inside, sharpness, vectors, yaw_of
from mien.corpus.options import Options
from mien.corpus.parts import describe_split, split_movies
from mien.corpus.track import Tracker, nearness, overlap
from mien.corpus.yaw import face_yaw, mirrored
from mien.errors import DataError
from mien.faces.camera import Camera
from mien.faces.person import sample_person
from mien.faces.render import Rendering, render
from mien.faces.rig import open_rig
from mien.faces.scene import Scene

ROW = {"shot": 0, "frame": 0, "t_ms": 0, "score": 0.99, "box": [0, 0, 100, 120], "yaw": 0.0, "inside": 1.0}
ROW |= {"blur": 200.0, "change": 0.1, "reason": None}


def _head(yaw: float, person: int = 3) -> Rendering:
    scene = Scene(sample_person(person), pose=(yaw, 0.0, 0.0), camera=Camera(scale=1.9))
    return render(scene, open_rig("builtin"), 200)


@pytest.fixture(scope="module")
def heads() -> dict[int, Rendering]:
    return {yaw: _head(yaw) for yaw in (-45, 0, 45)}


def test_mtcnn_finds_rendered_heads_and_their_yaw(heads: dict[int, Rendering]) -> None:
    detector = open_detector("mtcnn")
    for yaw, head in heads.items():
        found = detector(head.image, 40)
        assert len(found.boxes) == 1
        assert found.scores[0] > 0.9
        low, high = head.landmarks.min(0), head.landmarks.max(0)
        assert overlap(np.array([*low, *(high - low)]), found.boxes)[0] > 0.5
        eyes = head.landmarks[36:42].mean(0), head.landmarks[42:48].mean(0)
        assert np.abs(found.points[0, :2] - eyes).max() < 8
        assert yaw_of(found.points[0]) == pytest.approx(yaw, abs=12)


@pytest.mark.parametrize("person", [3, 5])
def test_a_profile_is_seen_as_one_and_mirrors(person: int) -> None:
    detector = open_detector("mtcnn")
    for yaw in (-20, 30, -80):
        head = _head(yaw, person).image
        points = detector(head, 40).points[0]
        told = face_yaw(head, points)
        assert told == pytest.approx(yaw, abs=8 if abs(yaw) < 60 else 18)
        assert (abs(told) > 60) == (abs(yaw) > 60)
        assert face_yaw(*mirrored(head, points)) == pytest.approx(-told, abs=6)


def test_a_map_that_shrinks_averages() -> None:
    fine = np.zeros((200, 300, 3), np.uint8)
    fine[:, ::2] = 255
    shrink = np.array([[0.25, 0.0, -10.0], [0.0, 0.25, -5.0]])
    found = averaged(fine, shrink, 24)
    assert np.abs(found.astype(int) - 127).max() <= 20
    # One that does not is OpenCV's own, wherever the view lies.
    ramp = np.broadcast_to(np.arange(300, dtype=np.uint8)[None, :, None], (200, 300, 3)).copy()
    for shift in (-40.0, -400.0, 10.0):
        move = np.array([[1.5, 0.1, shift], [-0.1, 1.5, -20.0]])
        whole = cv2.warpAffine(ramp, move, (48, 48), borderMode=cv2.BORDER_REPLICATE)
        assert np.abs(averaged(ramp, move, 48).astype(int) - whole).max() <= 3


def test_mtcnn_finds_two_faces_and_none_in_noise(heads: dict[int, Rendering]) -> None:
    detector = open_detector("mtcnn")
    two = np.hstack([heads[0].image, heads[45].image])
    found = detector(two, 40)
    assert sorted(found.boxes[:, 0] > 200) == [False, True]
    assert len(detector(np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8), 40).boxes) == 0
    assert len(detector(np.zeros((20, 20, 3), np.uint8), 40).boxes) == 0
    # A face smaller than asked for is not told.
    assert len(detector(heads[0].image, 190).boxes) == 0


@pytest.mark.parametrize("source", ["", "haar", "mtcnn:x", "yunet", "yunet:/no/such.onnx"])
def test_an_unknown_detector_is_refused(source: str) -> None:
    with pytest.raises(DataError):
        open_detector(source)


def test_blur_shows_and_size_does_not(heads: dict[int, Rendering]) -> None:
    from scipy.ndimage import gaussian_filter, zoom

    image, box = heads[0].image, np.array([50.0, 50.0, 100.0, 110.0])
    sharp = sharpness(image, box)
    assert sharpness(gaussian_filter(image, (3, 3, 0)), box) < sharp / 8
    twice = np.clip(zoom(image.astype(np.float32), (2, 2, 1), order=1), 0, 255).astype(np.uint8)
    assert sharpness(twice, 2 * box) == pytest.approx(sharp, rel=0.5)
    assert sharpness(image, np.array([500.0, 0, 10, 10])) == 0


def test_the_aligned_view_has_eyes_and_mouth_in_place(heads: dict[int, Rendering]) -> None:
    points = np.array([[60.0, 80.0], [100.0, 80.0], [80.0, 100.0], [65.0, 124.0], [95.0, 124.0]])
    picture = np.zeros((200, 200, 3), np.uint8)
    for x, y in points[[0, 1]].astype(int):
        picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    view = aligned(picture, points).mean(2)
    row, column = np.unravel_index(view[:, : VIEW // 2].argmax(), (VIEW, VIEW // 2))
    assert (column / VIEW, row / VIEW) == pytest.approx((0.3, 0.36), abs=0.05)


def test_vectors_tell_near_copies_from_others(heads: dict[int, Rendering]) -> None:
    points = heads[0].landmarks
    five = np.array([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])
    one = vectors(aligned(heads[0].image, five))
    darker = vectors(aligned((heads[0].image * 0.95).astype(np.uint8), five))
    other = vectors(aligned(_head(0, 8).image, five))
    assert one[0] @ darker[0] > 0.98
    assert one[1] @ darker[1] > 0.95
    assert one[1] @ other[1] < 0.8
    assert perceptual_hash(heads[0].image) == perceptual_hash((heads[0].image * 0.97).astype(np.uint8))


def test_tracks_cross_without_changing_places() -> None:
    left, right = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    tracker = Tracker()
    for step in range(11):
        boxes = np.array([[20.0 * step, 0, 100, 120], [200 - 20.0 * step, 10, 100, 120]])
        # The detector tells the faces in either order.
        order = [0, 1] if step % 2 else [1, 0]
        numbers = tracker.assign(boxes[order], np.stack([left, right])[order], 250 * step)
        if step == 0:
            first = {order[place]: number for place, number in enumerate(numbers)}
        assert {order[place]: number for place, number in enumerate(numbers)} == first


def test_a_face_that_was_gone_for_long_is_a_new_track() -> None:
    tracker, box, look = Tracker(), np.array([[0.0, 0, 50, 50]]), np.array([[1.0, 0.0]])
    assert tracker.assign(box, look, 0) == [0]
    assert tracker.assign(np.zeros((0, 4)), np.zeros((0, 2)), 500) == []
    assert tracker.assign(box, look, 1000) == [0]
    assert tracker.assign(box, look, 3000) == [1]


def test_overlap_and_nearness() -> None:
    box, boxes = np.array([0.0, 0, 10, 10]), np.array([[5.0, 0, 10, 10], [0, 0, 10, 10], [30, 0, 10, 10]])
    assert overlap(box, boxes) == pytest.approx([1 / 3, 1, 0])
    assert nearness(box, boxes)[2] == 0
    assert share_inside(np.array([-5.0, 0, 10, 10]), 100, 100) == 0.5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"score": 0.89}, "low_score"),
        ({"box": [0, 0, 95, 120]}, "small"),
        ({"yaw": -61.0}, "profile"),
        ({"inside": 0.8}, "cut_off"),
        ({"blur": 59.0}, "blurred"),
        ({"blur": 0.0, "score": 0.1}, "low_score"),
    ],
)
def test_each_gate(change: dict[str, object], reason: str | None) -> None:
    assert gate({**ROW, **change}, Options()) == reason


def test_frames_of_largest_change_are_taken_and_not_next_to_each_other() -> None:
    values = [0.1, 0.5, 0.48, 0.2, 0.45, 0.31, 0.1]
    rows = [{**ROW, "frame": n, "t_ms": 250 * n, "change": v} for n, v in enumerate(values)]
    assert choose(rows, 3) == {(0, 1), (0, 4)}
    assert choose(rows, 1) == {(0, 1)}
    # A face that fails a gate neither counts nor is taken.
    rows[1]["reason"] = "small"
    assert choose(rows, 3) == {(0, 2), (0, 4)}


@pytest.mark.parametrize("side", [40.0, 64.0, 150.0])
def test_a_crop_is_where_it_should_be_also_beyond_the_border(side: float) -> None:
    row, column = np.mgrid[:120, :200]
    picture = np.stack([column, row, np.full_like(row, 7)], 2).astype(np.uint8)
    left, top = 130.25, 10.5
    made = crop(picture, (left, top, side), 64).astype(float)
    at = (np.arange(64) + 0.5) * side / 64
    wanted = np.clip(left + at - 0.5, 0, 199), np.clip(top + at - 0.5, 0, 119)
    inner = slice(2, 28)
    assert np.abs(made[inner, inner, 0] - wanted[0][None, inner]).max() < 1.6
    assert np.abs(made[inner, inner, 1] - wanted[1][inner, None]).max() < 1.6
    assert np.all(made[..., 2] == 7)


def test_the_square_has_its_margin() -> None:
    assert square([10, 20, 100, 60], 1.3) == pytest.approx((-5, -15, 130))


def test_a_movie_is_in_one_part_and_copies_between_parts_are_told() -> None:
    faces = {f"m{n:03d}": [{"phash": f"{(n * 7919) << 32 | k:016x}"} for k in range(10)] for n in range(200)}
    faces["m199"] = [{"phash": faces["m000"][0]["phash"]}] * 10
    options = Options(hash_bits=0)
    parts = split_movies(faces, options)
    assert parts == split_movies(dict(reversed(faces.items())), options)
    told = describe_split(faces, parts, options)
    assert told["parts"]["train"] == {"movies": 194, "samples": 1940}
    assert told["parts"]["val"]["movies"] == told["parts"]["test"]["movies"] == 3
    apart = parts["m000"] != parts["m199"]
    assert (sum(told["near_copies"].values()) > 0) == apart
    forced = {**parts, "m000": "train", "m199": "test"}
    assert describe_split(faces, forced, options)["near_copies"]["train/test"] == 10
    with pytest.raises(DataError, match="sum"):
        split_movies(faces, Options(parts={"train": 0.5}))
