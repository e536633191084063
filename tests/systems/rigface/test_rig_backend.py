"""The steering picture: its formula, its place in the photograph, and what backends refuse."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.errors import DataError, MienError
from mien.faces.actions import Actions
from mien.faces.camera import PIVOT, rotation
from mien.faces.light import irradiance
from mien.faces.render import REGIONS, render
from mien.faces.rig import open_rig
from mien.faces.scene import Sensor
from mien.faces.sensor import expose
from mien.systems.rigface.backend import LIMIT, FaceRigBackend, open_backend
from mien.systems.rigface.codes import UNITS, codes_of
from mien.systems.rigface.framing import anchor, scene_of, settle
from mien.systems.rigface.modes import mix
from rigface_faces import codes, flame_codes, scene

SIZE = 96
FACE = [REGIONS.index(name) for name in ("skin", "brow", "eye", "lips", "mouth")]


@pytest.fixture(params=["builtin", "ict"])
def source(request: pytest.FixtureRequest) -> str | Path:
    if request.param == "builtin":
        return "builtin"
    return request.getfixturevalue("assets") / "ict_face.npz"


@pytest.fixture
def backend(source: str | Path) -> FaceRigBackend:
    return open_backend(source)


def test_a_rendering_is_as_documented(backend, source):
    given = codes(0)
    drawn = backend.render(given, SIZE)
    assert backend.name == ("builtin" if source == "builtin" else "ict")
    assert drawn.image.shape == drawn.radiance.shape == drawn.albedo.shape == (SIZE, SIZE, 3)
    assert drawn.image.dtype == np.uint8
    assert drawn.radiance.dtype == drawn.albedo.dtype == drawn.normals.dtype == np.float32
    assert drawn.alpha.dtype == drawn.landmarks.dtype == np.float32
    assert set(np.unique(drawn.alpha)) == {0, 0.25, 0.5, 0.75, 1}
    outside = drawn.alpha == 0
    for picture in (drawn.image, drawn.radiance, drawn.albedo, drawn.normals):
        assert not picture[outside].any()
    np.testing.assert_allclose(np.linalg.norm(drawn.normals[~outside], axis=1), 1, atol=1e-5)
    assert drawn.normals[..., 2][drawn.alpha == 1].min() > -0.7
    assert drawn.albedo.max() <= 1
    np.testing.assert_array_equal(drawn.image, expose(drawn.radiance, Sensor()))
    np.testing.assert_array_equal(drawn.image, backend.render(given, SIZE).image)


def test_constant_light_gives_albedo_times_its_coefficient(backend):
    constant = np.zeros((9, 3), np.float32)
    constant[0] = [2.0, 1.5, 0.5]
    drawn = backend.render(replace(codes(1), light=constant), SIZE)
    expected = drawn.albedo * drawn.alpha[..., None] * (constant[0] / np.sqrt(4 * np.pi))
    np.testing.assert_allclose(drawn.radiance, expected, rtol=1e-4, atol=1e-6)


def test_any_light_gives_the_nine_band_sum_on_the_normals(backend):
    given = codes(2)
    drawn = backend.render(given, SIZE)
    expected = drawn.albedo * irradiance(given.light, drawn.normals)
    # Within a pixel albedo and normal vary together, so the means agree where both are smooth.
    difference = np.abs(drawn.radiance - expected)[drawn.alpha == 1]
    assert np.median(difference) < 1e-3
    assert np.quantile(difference, 0.95) < 0.03


@pytest.mark.parametrize(("seed", "style"), [(0, "studio"), (3, "wild"), (4, "wild"), (9, "wild")])
def test_the_head_lies_where_the_photograph_has_it(backend, source, seed, style):
    given = scene(seed, style)
    photo = render(given, open_rig(source), SIZE)
    drawn = backend.render(codes_of(given), SIZE)
    np.testing.assert_allclose(drawn.landmarks, photo.landmarks, atol=1e-3)
    face = np.isin(photo.regions, FACE)
    assert face.sum() > 0.15 * SIZE**2
    # All skin of the photograph is head here, but for specks of hair that part its edge.
    assert (drawn.alpha[face] >= 0.5).mean() > 0.995
    bald = render(replace(given, person=replace(given.person, hair_style="bald")), open_rig(source), SIZE)
    assert ((bald.regions > 0) != (drawn.alpha >= 0.5)).mean() < 0.003
    same = (bald.regions > 0) & (drawn.alpha == 1)
    # Creases bend the photograph's normals only after they are kept.
    assert np.quantile((bald.normals * drawn.normals).sum(axis=2)[same], 0.01) > 0.995


def test_the_albedo_is_the_base_colour_whoever_it_is(backend):
    given = codes(0)
    drawn = backend.render(given, SIZE)
    skin = np.median(drawn.albedo[drawn.alpha == 1], axis=0)
    np.testing.assert_allclose(skin, given.albedo, rtol=0.2)
    twice = backend.render(replace(given, albedo=given.albedo / 2), SIZE)
    ratio = twice.albedo[drawn.alpha == 1] / drawn.albedo[drawn.alpha == 1]
    # All but teeth, eyes and the mouth follow it.
    assert (np.abs(ratio - 0.5) < 0.01).mean() > 0.9
    dressed = scene(0)
    plain = replace(dressed.person, hair_style="bald", beard=0.0, freckles=0.0, lips=0.0, age=0.0)
    again = backend.render(codes_of(replace(dressed, person=plain)), SIZE)
    np.testing.assert_array_equal(again.image, drawn.image)


def test_the_head_stays_put_when_it_turns(backend, source):
    given = codes(0)
    head = open_rig(source).surface(scene(0).person, Actions(), given.gaze)
    before = backend.render(given, SIZE)
    for pose in ((30.0, 0.0, 0.0), (-45.0, 10.0, 5.0), (0.0, 25.0, -20.0)):
        turned = mix(given, replace(codes(1), pose=pose, boxed=pose), "pose")
        after = backend.render(turned, SIZE)
        shown = [anchor(_flat(drawn.landmarks))[:2] for drawn in (before, after)]
        # Landmarks of a face in perspective: their mean wanders by a part of the face's relief.
        assert np.abs(shown[0] - shown[1]).max() < 0.05 * SIZE, pose
        assert _anchor_moves(given, turned, head.resting) < 1e-3
        sides = [np.sqrt((drawn.alpha > 0).sum()) for drawn in (before, after)]
        assert sides[1] / sides[0] == pytest.approx(1, abs=0.15)
    # A crop taken anew would move it.
    fresh = backend.render(replace(given, pose=(45.0, 0.0, 0.0), boxed=(45.0, 0.0, 0.0)), SIZE)
    assert np.abs(anchor(_flat(fresh.landmarks)) - anchor(_flat(before.landmarks))).max() > 4


def _flat(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points, np.zeros((68, 1), np.float32)], axis=1)


def _anchor_moves(given, turned, resting) -> float:
    """Pixels by which the anchor of the head at rest moves, and its change of scale."""
    seen = []
    for item in (given, turned):
        points = (resting - PIVOT) @ rotation(item.pose).T
        frame = settle(item, resting).frame(points, SIZE)
        place, depth = frame.project(anchor(points)[None])
        seen.append([*place[0], frame.focal / depth[0]])
    return float(np.abs(np.subtract(*seen)).max())


def test_the_photograph_of_an_edit_fits_its_rendering(backend, source):
    rig = open_rig(source)
    base = scene(0)
    np.testing.assert_array_equal(
        render(scene_of(codes_of(base), base, rig), rig, SIZE).image, render(base, rig, SIZE).image
    )
    edited = mix(codes_of(base), codes(3), "exp+pose+light")
    photo = render(scene_of(edited, base, rig), rig, SIZE)
    drawn = backend.render(edited, SIZE)
    np.testing.assert_allclose(drawn.landmarks, photo.landmarks, atol=1e-2)
    assert (drawn.alpha[np.isin(photo.regions, FACE)] >= 0.5).mean() > 0.99


def test_psi_is_what_is_shown(backend):
    given = codes(0)
    np.testing.assert_array_equal(backend.expression(given), given.expression)
    assert backend.expression(given).shape == (backend.expression_size,)
    wild = given.expression.copy()
    smile = 2 * UNITS.index(12)
    wild[smile : smile + 2], wild[0] = 9.0, -1.0
    cut = given.expression.copy()
    cut[smile : smile + 2], cut[0] = LIMIT, 0.0
    np.testing.assert_array_equal(backend.expression(replace(given, expression=wild)), cut)
    overdone, capped = (backend.render(replace(given, expression=psi), 48).image for psi in (wild, cut))
    np.testing.assert_array_equal(overdone, capped)


def test_backends_refuse_what_they_cannot_do(backend, tmp_path):
    with pytest.raises(MienError, match=r"cannot fit a photograph.*codes_of"):
        backend.fit(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(MienError, match="draws codes of 'world', not of 'flame'"):
        backend.render(flame_codes(), 32)
    with pytest.raises(MienError, match="a picture of 0 pixels"):
        backend.render(codes(0), 0)


def test_folders_that_hold_no_face_are_refused(tmp_path):
    with pytest.raises(DataError, match="no face rig there"):
        open_backend(tmp_path / "absent")
    with pytest.raises(DataError, match="generic_neutral_mesh"):
        open_backend(tmp_path)
    (tmp_path / "01_MorphableModel.mat").write_bytes(b"")
    with pytest.raises(DataError, match=r"01_MorphableModel.*Basel.*use 'builtin'"):
        open_backend(str(tmp_path))


def test_the_rig_needs_no_torch():
    rooms = ", ".join(
        f"mien.systems.rigface.{name}" for name in ("backend", "background", "records", "sliders")
    )
    code = f"import sys; sys.path[:] = {sys.path!r}; import {rooms}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
