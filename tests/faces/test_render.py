from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.faces.actions import Actions
from mien.faces.camera import PIVOT, Camera, rotation
from mien.faces.light import project
from mien.faces.person import SHAPE_SIZE, Person, sample_person
from mien.faces.render import REGIONS, Rendering, render
from mien.faces.rig import open_rig
from mien.faces.scene import OCCLUDERS, Background, Occluder, Scene, Sensor, sample_scene

SIZE = 96
LABEL = {name: index for index, name in enumerate(REGIONS)}
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)
BACKS = ((0.02, 0.3, 0.02), (0.02, 0.3, 0.02))


def _person(**changed: object) -> Person:
    """Somebody without quirks: average shape, no hair, no tone at rest, even sides."""
    plain = {"shape": np.zeros(SHAPE_SIZE, np.float32), "hair_style": "bald", "beard": 0.0, "freckles": 0.0}
    plain |= {"resting": Actions(), "gain": (1.0, 1.0), "age": 0.2, "melanin": 0.2, "lips": 0.3}
    return replace(sample_person(2), **{**plain, **changed})


def _lamp(x: float, y: float, z: float) -> np.ndarray:
    direction = np.array([[x, y, z]]) / np.linalg.norm([x, y, z])
    return project(direction, np.full((1, 3), 0.9 * np.pi), np.full(3, 0.2))


def _draw(scene: Scene, size: int = SIZE) -> Rendering:
    return render(scene, open_rig("builtin"), size)


@pytest.fixture(scope="module")
def frontal() -> Rendering:
    return _draw(Scene(_person()))


def _grey(picture: Rendering) -> np.ndarray:
    return picture.image.astype(float).mean(axis=2)


def _moved(units: dict[int, float], left_only: bool = False) -> np.ndarray:
    """How the landmarks move in the picture (right, down; pixels) when a plain person does `units`."""
    actions = Actions(left=units, right={}) if left_only else Actions.of(units)
    return _draw(Scene(_person(), actions)).landmarks - _draw(Scene(_person())).landmarks


def test_arrays_are_as_documented(frontal):
    assert frontal.image.shape == (SIZE, SIZE, 3)
    assert frontal.image.dtype == frontal.regions.dtype == np.uint8
    assert frontal.normals.shape == (SIZE, SIZE, 3)
    assert frontal.normals.dtype == frontal.depth.dtype == frontal.landmarks.dtype == np.float32
    assert frontal.landmarks.shape == (68, 2)
    assert frontal.visible.shape == (68,)
    assert frontal.visible.dtype == bool
    head = frontal.depth > 0
    np.testing.assert_allclose(np.linalg.norm(frontal.normals[head], axis=1), 1, atol=1e-4)
    assert not frontal.normals[~head].any()
    assert 70 < frontal.depth[head].min() < frontal.depth[head].max() < 110
    background = frontal.regions == LABEL["background"]
    assert (background == ~head).mean() > 0.99


def test_landmarks_lie_where_the_regions_say(frontal):
    def at(points: np.ndarray) -> list[str]:
        column, row = np.floor(np.atleast_2d(points)).astype(int).T
        return [REGIONS[label] for label in frontal.regions[row, column]]

    points = frontal.landmarks
    assert (points > 0).all()
    assert (points < SIZE).all()
    for eye in (RIGHT_EYE, LEFT_EYE):
        assert at(points[eye].mean(axis=0)) == ["eye"]
    assert at(points[48:60].mean(axis=0))[0] in ("lips", "mouth")
    assert at(points[30]) == ["skin"]
    assert at(points[17:27]).count("brow") >= 8
    assert frontal.visible[17:].all()


@pytest.mark.parametrize(("yaw", "near", "far"), [(70, RIGHT_EYE, LEFT_EYE), (-70, LEFT_EYE, RIGHT_EYE)])
def test_a_profile_hides_the_far_side(yaw, near, far):
    picture = _draw(Scene(_person(), pose=(yaw, 0, 0)))
    assert picture.visible[near].mean() > 0.6
    assert not picture.visible[far].any()
    assert picture.visible[30]


def test_landmarks_outside_the_picture_are_not_visible():
    picture = _draw(Scene(_person(), camera=Camera(shift=(0.5, 0.0))))
    outside = (picture.landmarks < 0).any(axis=1) | (picture.landmarks >= SIZE).any(axis=1)
    assert 10 < outside.sum() < 60
    assert not picture.visible[outside].any()


def test_normals_are_those_of_the_depth():
    scene = Scene(_person(), pose=(20, -5, 4))
    picture = _draw(scene, 160)
    resting = open_rig("builtin").surface(scene.person, Actions(), (0.0, 0.0)).resting
    frame = scene.camera.frame((resting - PIVOT) @ rotation(scene.pose).T, 160)
    rows, columns = np.indices(picture.depth.shape) + 0.5
    x = (columns / frame.focal + frame.left) * picture.depth
    y = (frame.top - rows / frame.focal) * picture.depth
    place = np.stack([x, y, -picture.depth], axis=-1)
    across, down = np.gradient(place, axis=1), np.gradient(place, axis=0)
    normal = np.cross(across, -down)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    skin = (picture.regions == LABEL["skin"]) & (picture.normals[..., 2] > 0.5)
    angle = np.rad2deg(np.arccos(np.clip((normal * picture.normals).sum(axis=-1), -1, 1)))[skin]
    assert skin.sum() > 5000
    assert np.median(angle) < 4
    assert np.percentile(angle, 90) < 20


def test_depth_puts_the_nose_before_the_eyes_before_the_ears(frontal):
    column, row = np.floor(frontal.landmarks[[30, 45, 15]]).astype(int).T
    nose, eye, ear = frontal.depth[row, column]
    assert nose + 1.5 < eye < ear - 1.5


def test_light_from_a_side_brightens_that_side():
    means = {}
    for x in (1, -1):
        picture = _draw(Scene(_person(), light=_lamp(x, 0.1, 0.5)))
        face = picture.depth > 0
        half = np.arange(SIZE)[None, :] > SIZE / 2
        means[x] = _grey(picture)[face & half].mean() - _grey(picture)[face & ~half].mean()
    assert means[1] > 15
    assert means[-1] < -15
    dark, bright = (_draw(Scene(_person(), light=k * _lamp(0, 0.3, 1))).image.mean() for k in (0.3, 1.0))
    assert dark < bright - 20


def test_the_mirrored_scene_gives_the_mirrored_picture():
    light = _lamp(0.8, 0.4, 0.6)
    turned = light.copy()
    turned[[3, 4, 7]] *= -1  # the bands that are odd in x
    units, others = {12: 0.8, 1: 0.4}, {12: 0.2, 4: 0.6}
    first = _draw(Scene(_person(), Actions(units, others), (18, 5, 6), (7, 2), light))
    second = _draw(Scene(_person(), Actions(others, units), (-18, 5, -6), (-7, 2), turned))
    difference = np.abs(first.image[:, ::-1].astype(float) - second.image)
    assert difference.mean() < 4
    flipped = first.depth[:, ::-1]
    assert ((flipped > 0) == (second.depth > 0)).mean() > 0.99
    apart = np.abs(flipped - second.depth)[(flipped > 0) & (second.depth > 0)]
    assert np.percentile(apart, 99) < 0.5
    order = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31]
    mirrored = first.landmarks[order] * [-1, 1] + [SIZE, 0]
    # A landmark is the nearest vertex of the head; those of the two sides can be a vertex (0.2 cm) apart.
    np.testing.assert_allclose(mirrored, second.landmarks[:36], atol=1.6)
    assert np.median(np.abs(mirrored - second.landmarks[:36])) < 0.1
    assert (first.regions[:, ::-1] == second.regions).mean() > 0.97


@pytest.mark.parametrize(
    ("units", "points", "axis", "sign"),
    [
        ({12: 1.0}, [48, 54], 1, -1),
        ({15: 1.0}, [48, 54], 1, 1),
        ({1: 1.0}, [21, 22], 1, -1),
        ({2: 1.0}, [18, 25], 1, -1),
        ({4: 1.0}, [20, 21, 22, 23], 1, 1),
        ({43: 1.0}, [37, 38, 43, 44], 1, 1),
        ({27: 1.0}, [7, 8, 9, 57], 1, 1),
        ({10: 1.0}, [50, 52], 1, -1),
        ({20: 1.0}, [54], 0, 1),
        ({18: 1.0}, [54], 0, -1),
    ],
)
def test_action_units_move_their_landmarks(units, points, axis, sign):
    moved = _moved(units)[points, axis]
    assert (moved * sign > 0.5).all()


def test_one_side_moves_alone_and_half_is_about_half():
    moved = _moved({12: 1.0}, left_only=True)
    assert moved[54, 1] < -1.5
    assert abs(moved[48, 1]) < 0.4
    half = _moved({12: 0.5})[[48, 54], 1] / _moved({12: 1.0})[[48, 54], 1]
    np.testing.assert_allclose(half, 0.5, atol=0.15)


def test_the_person_acts_and_does_not_change_in_the_scene():
    stiff = _person(gain=(0.0, 0.0))
    np.testing.assert_array_equal(_draw(Scene(stiff, Actions.of({12: 1.0}))).image, _draw(Scene(stiff)).image)
    toned = _draw(Scene(_person(resting=Actions.of({12: 0.8}))))
    assert (toned.landmarks[[48, 54], 1] < _draw(Scene(_person())).landmarks[[48, 54], 1] - 1).all()


def test_the_iris_goes_where_the_eye_looks():
    dark = _person(iris=np.array([0.02, 0.02, 0.02], np.float32))
    light = project(np.zeros((0, 3)), np.zeros((0, 3)), np.full(3, 0.9))
    columns = []
    for yaw in (-25.0, 25.0):
        picture = _draw(Scene(dark, gaze=(yaw, 0.0), light=light), 192)
        iris = (picture.regions == LABEL["eye"]) & (_grey(picture) < 110)
        columns.append([np.nonzero(iris[:, half])[1].mean() for half in (slice(0, 96), slice(96, None))])
    shift = np.subtract(columns[1], columns[0])
    assert (shift > 5).all()  # the person's own left is the right of the picture


def test_an_open_mouth_shows_what_is_inside():
    closed = _draw(Scene(_person()))
    opened = _draw(Scene(_person(), Actions.of({27: 1.0, 25: 1.0})))
    assert (closed.regions == LABEL["mouth"]).sum() < 20
    inside = opened.regions == LABEL["mouth"]
    assert inside.sum() > 150
    assert _grey(opened)[inside].min() < 40


def test_same_scene_same_bytes_and_any_random_scene_can_be_drawn():
    for style in ("studio", "wild"):
        for seed in range(4):
            rng = np.random.default_rng(seed)
            scene = sample_scene(sample_person(seed), Actions.of({6: 0.5, 12: 0.6}), rng, style)
            first, second = _draw(scene, 64), _draw(scene, 64)
            for name in ("image", "normals", "depth", "regions", "landmarks", "visible"):
                np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
            assert np.isfinite(first.normals).all()
            assert 0.25 < (first.depth > 0).mean() < 0.99
            assert first.image.std() > 8


@pytest.mark.parametrize("kind", OCCLUDERS)
@pytest.mark.parametrize("side", [1, -1])
def test_occluders_cover_the_picture_but_not_the_geometry(kind, side):
    free = Scene(_person(), background=Background("plain", BACKS), sensor=Sensor())
    bare = _draw(free)
    for seed in range(3):
        covered = _draw(replace(free, occluders=(Occluder(kind, side, seed),)))
        mask = covered.regions == LABEL["occluder"]
        assert 0.01 < mask.mean() < 0.6
        assert np.abs(covered.image.astype(int) - bare.image)[mask].mean() > 8
        assert (
            covered.image[(covered.depth == 0) & ~mask] == bare.image[(covered.depth == 0) & ~mask]
        ).mean() > 0.9
        np.testing.assert_array_equal(covered.depth, bare.depth)
        np.testing.assert_array_equal(covered.normals, bare.normals)
        np.testing.assert_array_equal(covered.landmarks, bare.landmarks)
        assert (covered.visible <= bare.visible).all()


def test_a_mask_hides_the_mouth_and_leaves_the_eyes():
    picture = _draw(Scene(_person(), occluders=(Occluder("mask"),)))
    assert not picture.visible[48:].any()
    assert picture.visible[36:48].all()
    assert LABEL["lips"] not in picture.regions


def test_a_lock_of_hair_falls_on_its_side():
    left, right = (
        _draw(Scene(_person(), occluders=(Occluder("hair", side, 3),))).visible for side in (1, -1)
    )
    assert left[LEFT_EYE].sum() < left[RIGHT_EYE].sum()
    assert right[RIGHT_EYE].sum() < right[LEFT_EYE].sum()


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="scarf"):
        _draw(Scene(_person(), occluders=(Occluder("scarf"),)), 32)
    with pytest.raises(ValueError, match="beach"):
        _draw(Scene(_person(), background=Background("beach")), 32)
