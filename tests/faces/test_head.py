"""The built-in head: units move their region on their side, nothing tears or pokes through."""

from dataclasses import replace

import numpy as np
import pytest

from mien.faces.actions import ACTION_UNITS, Actions
from mien.faces.head import BuiltinRig
from mien.faces.person import HAIR_STYLES, sample_person
from mien.faces.raster import rasterise
from mien.faces.rig import PARTS, Surface, open_rig

BOXES = {
    1: (0, 3.5, 4.5, 9), 2: (2, 7, 4.5, 9), 4: (0, 4, 4, 7.5), 5: (1.7, 4.7, 3, 5.5), 6: (1.5, 6.5, -1, 4),
    7: (1.5, 5, 1.5, 5.2), 9: (0, 3.5, -3.5, 7), 10: (0, 3.7, -3.6, 1), 11: (0.8, 4.5, -3.4, 1),
    12: (0.8, 5.5, -5, 1), 14: (0.8, 4.8, -5, -2),
    15: (0.8, 4.5, -5.8, -1.5), 16: (0, 3, -7, -3.2),
    17: (0, 3.2, -8, -2.5), 18: (0, 4.5, -6, -1), 20: (0.8, 5, -5.5, -1.5), 22: (0, 4.5, -6, -1),
    23: (0, 4.5, -6, -1), 24: (0, 4.5, -7.5, -1), 25: (0, 7, -10, -1),
    26: (0, 9, -14, -2), 27: (0, 9, -14, -1),
    28: (0, 3, -6, -1), 43: (1.5, 5, 1.8, 5.3), 45: (1.5, 5, 1.8, 5.3),
}  # fmt: skip
"""Where a unit acts on the chart: smallest and largest |u|, smallest and largest v."""

LATERAL = [n for n, unit in ACTION_UNITS.items() if unit.lateral]
GAZE = (0.0, 0.0)


@pytest.fixture(scope="module")
def rig() -> BuiltinRig:
    rig = open_rig("builtin")
    assert isinstance(rig, BuiltinRig)
    return rig


def _motion(rig, person, actions):
    """Displacement of the outer skin from rest, float [n, 3], and its chart."""
    still, moved = (rig.surface(person, a, GAZE) for a in (Actions(), actions))
    outer = np.flatnonzero(rig.grid.rim == 0)
    return (moved.vertices - still.vertices)[outer], still.chart[outer]


def _one(number, value=1.0):
    return Actions.of({number: value})


@pytest.mark.parametrize("number", sorted(ACTION_UNITS))
def test_a_unit_moves_its_own_region(rig, number):
    motion, chart = _motion(rig, sample_person(7), _one(number))
    energy = (motion**2).sum(axis=1)
    low_u, high_u, low_v, high_v = BOXES[number]
    u, v = np.abs(chart[:, 0]), chart[:, 1]
    inside = (u >= low_u - 1e-3) & (u <= high_u) & (v >= low_v) & (v <= high_v)
    assert inside[energy.argmax()]
    assert energy[inside].sum() > 0.85 * energy.sum()
    assert np.sqrt(energy.max()) > 0.25, "a full action must show"


def test_every_unit_has_a_box():
    assert BOXES.keys() == ACTION_UNITS.keys()


@pytest.mark.parametrize("number", LATERAL)
def test_one_side_alone_moves_that_side(rig, number):
    person = sample_person(8)
    for actions, sign in ((Actions({number: 1.0}, {}), 1), (Actions({}, {number: 1.0}), -1)):
        motion, chart = _motion(rig, person, actions)
        energy = (motion**2).sum(axis=1)
        assert energy[chart[:, 0] * sign > 0.0].sum() > 0.85 * energy.sum()
        assert chart[energy.argmax(), 0] * sign > 0


@pytest.mark.parametrize("number", sorted(ACTION_UNITS))
def test_more_intensity_moves_more(rig, number):
    person = sample_person(9)
    sizes = [np.linalg.norm(_motion(rig, person, _one(number, x))[0]) for x in (0.2, 0.4, 0.6, 0.8, 1.0)]
    steps = np.diff([0.0, *sizes])
    # Closed lids cannot close further.
    assert (steps > (-1e-4 if number in (43, 45) else 1e-3)).all(), sizes
    assert (steps[:4] > 1e-3).all()


def _heights(surface: Surface, upper, lower):
    return surface.landmarks[upper, 1] - surface.landmarks[lower, 1]


@pytest.mark.parametrize("seed", range(5))
def test_lids_close_and_open(rig, seed):
    person = sample_person(seed)
    upper, lower = [37, 38, 43, 44], [41, 40, 47, 46]
    resting, wide, shut = (
        _heights(rig.surface(person, a, GAZE), upper, lower) for a in (Actions(), _one(5), _one(43))
    )
    assert (resting > 0.5).all()
    assert (wide > resting + 0.2).all()
    assert np.abs(shut).max() < 1e-3
    wink = _heights(rig.surface(person, Actions({43: 1.0}, {}), GAZE), upper, lower)
    assert (wink[:2] > 0.5).all()
    assert np.abs(wink[2:]).max() < 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_lips_meet_at_rest_and_part(rig, seed):
    person = sample_person(seed)
    upper, lower = [61, 62, 63], [67, 66, 65]
    resting = _heights(rig.surface(person, person.act(Actions()), GAZE), upper, lower)
    parted = _heights(rig.surface(person, _one(25), GAZE), upper, lower)
    dropped = _heights(rig.surface(person, _one(27), GAZE), upper, lower)
    assert np.abs(resting).max() < 0.02
    assert (parted > 0.4).all()
    assert (dropped > 1.5).all()


def test_lips_never_cross(rig):
    rng = np.random.default_rng(0)
    for seed in range(40):
        units = rng.choice(sorted(ACTION_UNITS), 5, replace=False)
        actions = Actions.of({int(n): float(rng.uniform(0.3, 1)) for n in units}, rng.uniform(-1, 1))
        surface = rig.surface(sample_person(seed % 6), actions, GAZE)
        assert (_heights(surface, [61, 62, 63], [67, 66, 65]) > -1e-3).all()


def _parts_seen(surface: Surface, size=160):
    """Samples of each part that the camera sees from the front, and whether the whole face is covered."""
    depth = 90 - surface.vertices[:, 2]
    scale = size * 4.5 / depth
    points = np.stack(
        [size / 2 + scale * surface.vertices[:, 0], size / 2 - scale * surface.vertices[:, 1]], axis=1
    )
    seen = rasterise(points.astype(np.float32), depth.astype(np.float32), surface.triangles, size, size)
    counts = np.bincount(surface.part[seen.triangle], minlength=len(PARTS))
    covered = np.zeros(size * size, bool)
    covered[seen.pixel] = True
    face = covered.reshape(size, size)[size * 3 // 10 : size * 7 // 10, size * 3 // 10 : size * 7 // 10]
    return dict(zip(PARTS, counts)), bool(face.all())


MOUTH = ("teeth_upper", "teeth_lower", "tongue", "cavity")


@pytest.mark.parametrize("seed", range(12))
def test_nothing_shows_through_a_face_at_rest(rig, seed):
    person = sample_person(seed)
    seen, whole = _parts_seen(rig.surface(person, person.act(Actions()), GAZE))
    assert whole
    assert sum(seen[part] for part in MOUTH) == 0
    assert seen["eye_left"] > 20
    assert seen["eye_right"] > 20
    shut, _ = _parts_seen(rig.surface(person, person.act(_one(43)), GAZE))
    assert shut["eye_left"] + shut["eye_right"] == 0


@pytest.mark.parametrize(
    "units",
    [
        {17: 0.5, 24: 0.9},
        {24: 1.0},
        {23: 1.0, 4: 1.0},
        {28: 1.0},
        {17: 1.0, 15: 1.0},
        {14: 1.0, 24: 1.0},
        {12: 1.0},
        {18: 1.0},
        {20: 1.0},
    ],
)
def test_closed_lips_hide_the_teeth(rig, units):
    for seed in range(6):
        seen, _ = _parts_seen(rig.surface(sample_person(seed), Actions.of(units, 0.3), GAZE))
        assert sum(seen[part] for part in MOUTH) <= 2, seed


@pytest.mark.parametrize("units", [{12: 0.9, 25: 0.8}, {10: 1.0, 25: 0.5}, {26: 1.0, 25: 1.0}, {27: 1.0}])
def test_teeth_show_between_parted_lips(rig, units):
    seen, whole = _parts_seen(rig.surface(sample_person(4), Actions.of(units), GAZE))
    assert whole
    assert seen["teeth_upper"] > 10
    if 27 in units:
        assert seen["tongue"] > 10
        assert seen["cavity"] > 10


@pytest.mark.parametrize("style", HAIR_STYLES)
def test_a_surface_is_whole_and_finite(rig, style):
    rng = np.random.default_rng(HAIR_STYLES.index(style))
    for seed in range(3):
        person = replace(sample_person(seed), hair_style=style)
        actions = Actions.of({n: float(rng.random()) for n in ACTION_UNITS}, float(rng.uniform(-1, 1)))
        s = rig.surface(person, actions, (float(rng.uniform(-25, 25)), float(rng.uniform(-15, 15))))
        count = len(s.vertices)
        assert s.vertices.dtype == s.chart.dtype == s.rim.dtype == np.float32
        assert s.triangles.dtype == np.int32
        assert s.part.dtype == np.uint8
        assert s.chart.shape == (count, 2)
        assert s.rim.shape == (count,)
        assert len(s.part) == len(s.triangles)
        assert all(np.isfinite(a).all() for a in (s.vertices, s.chart, s.landmarks, s.resting, s.eyes))
        assert s.triangles.min() >= 0
        assert s.triangles.max() < count
        assert set(np.unique(s.part)) >= set(range(7))
        assert (PARTS.index("hair") in s.part) == (style != "bald")


def test_landmarks_lie_on_the_skin_and_keep_their_order(rig):
    s = rig.surface(sample_person(2), _one(12), GAZE)
    used = s.vertices[np.unique(s.triangles[s.part == PARTS.index("skin")])]
    gap = np.linalg.norm(s.landmarks[:, None] - used[None], axis=-1).min(axis=1)
    assert gap.max() == 0
    x, y = s.landmarks[:, 0], s.landmarks[:, 1]
    assert (np.diff(x[:17]) > 0).all(), "jaw from the person's right to the left"
    assert (np.diff(x[17:27]) > 0).all(), "brows likewise"
    assert (x[36:42] < 0).all()
    assert (x[42:48] > 0).all()
    assert y[17:27].min() > y[36:48].max() > y[48:68].max() > y[8]


def test_the_same_arguments_give_the_same_bytes():
    person, actions = sample_person(3), Actions.of({12: 0.7, 6: 0.5}, 0.3)
    first, second = (BuiltinRig().surface(person, actions, (5.0, -3.0)) for _ in range(2))
    for name in ("vertices", "triangles", "part", "chart", "rim", "landmarks", "resting", "eyes"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_people_differ_more_than_their_moods(rig):
    rng = np.random.default_rng(1)
    people = [sample_person(seed) for seed in range(12)]
    known = np.stack([rig.surface(p, Actions(), GAZE).landmarks for p in people])
    for k, person in enumerate(people):
        mood = Actions.of({int(n): float(rng.uniform(0, 0.3)) for n in rng.choice(LATERAL, 3)})
        seen = rig.surface(person, person.act(mood), GAZE).landmarks
        assert np.linalg.norm(known - seen, axis=-1).mean(axis=1).argmin() == k


def test_eyes_look_and_lids_follow(rig):
    person = sample_person(6)
    up, down = (rig.surface(person, Actions(), (0.0, pitch)) for pitch in (15.0, -15.0))
    assert (up.landmarks[[37, 38, 43, 44], 1] > down.landmarks[[37, 38, 43, 44], 1] + 0.1).all()
    assert up.eyes[0, 0] > 2
    assert up.eyes[1, 0] < -2
