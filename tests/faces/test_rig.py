from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.errors import DataError
from mien.faces.actions import ACTION_UNITS, Actions
from mien.faces.head_features import landmark_chart
from mien.faces.ict import open_ict
from mien.faces.ict_actions import blend
from mien.faces.ict_files import EXPRESSIONS, VERTICES, read_model, read_obj
from mien.faces.person import SHAPE_SIZE, Person, sample_person
from mien.faces.render import render
from mien.faces.rig import PARTS, Rig, Surface, open_rig
from mien.faces.scene import Scene

OBJ = b"""# a pyramid
mtllib none.mtl
v 0 0 0
v 1 0 0
v 1 1 0 0.5 0.5 0.5
v 0 1 0
v 0.5 0.5 1e0
vt 0 0
vn 0 0 1
f 1/1/1 2/1/1 3/1/1 4/1/1
f 1 2 5
f -4//1 -3//1 -1//1
"""


@pytest.fixture(scope="module")
def packed(assets: Path) -> Path:
    return assets / "ict_face.npz"


@pytest.fixture(scope="module")
def rig(packed: Path) -> Rig:
    return open_rig(packed)


def _person(**changed: object) -> Person:
    return replace(sample_person(2), shape=np.zeros(SHAPE_SIZE, np.float32), hair_style="bald", **changed)


def _surface(rig: Rig, units: dict[int, float] | Actions, gaze: tuple[float, float] = (0.0, 0.0)) -> Surface:
    return rig.surface(_person(), units if isinstance(units, Actions) else Actions.of(units), gaze)


def test_surface_is_as_documented(rig):
    for style in ("bald", "long"):
        surface = rig.surface(replace(sample_person(1), hair_style=style), Actions(), (0.0, 0.0))
        count = len(surface.vertices)
        assert surface.vertices.dtype == surface.chart.dtype == surface.rim.dtype == np.float32
        assert surface.chart.shape == (count, 2)
        assert surface.rim.shape == (count,)
        assert surface.part.shape == (len(surface.triangles),)
        assert surface.triangles.max() < count
        assert surface.landmarks.shape == surface.resting.shape == (68, 3)
        assert np.isfinite(surface.vertices).all()
        assert 1.0 < surface.eye_radius < 1.8
        assert surface.eyes[0, 0] > 2 > -2 > surface.eyes[1, 0]
        shown = {PARTS[part] for part in np.unique(surface.part)}
        assert {"skin", "eye_left", "eye_right", "teeth_upper", "teeth_lower", "tongue", "cavity"} <= shown
        assert ("hair" in shown) == (style == "long")


def test_the_chart_of_the_landmarks_is_that_of_the_builtin_head(rig):
    surface = _surface(rig, {})
    distance = np.linalg.norm(surface.vertices[:, None] - surface.landmarks[None], axis=2).argmin(axis=0)
    off = np.linalg.norm(surface.chart[distance] - landmark_chart()[0], axis=1)
    assert off[17:].max() < 0.6  # brows, nose, eyes, lips, cm
    assert np.median(off[:17]) < 1.0


@pytest.mark.parametrize(
    ("unit", "points", "axis", "sign"),
    [
        (1, [21, 22], 1, 1), (2, [18, 25], 1, 1), (4, [21, 22], 1, -1), (5, [37, 44], 1, 1),
        (10, [50, 52], 1, 1), (12, [48, 54], 1, 1), (15, [48, 54], 1, -1), (16, [57], 1, -1),
        (17, [57], 1, 1), (18, [54], 0, -1), (20, [54], 0, 1), (26, [8, 57], 1, -1), (27, [8, 57], 1, -1),
        (43, [37, 38, 43, 44], 1, -1),
    ],
)  # fmt: skip
def test_units_move_their_landmarks(rig, unit, points, axis, sign):
    still = _surface(rig, {})
    moved = (_surface(rig, {unit: 1.0}).landmarks - still.landmarks)[points, axis] * sign
    assert (moved > 0.1).all()
    half = (_surface(rig, {unit: 0.5}).landmarks - still.landmarks)[points, axis] * sign
    assert (half > 0).all()
    assert (half < moved).all()
    np.testing.assert_array_equal(_surface(rig, {unit: 1.0}).resting, still.landmarks)


def test_every_unit_changes_the_face_and_lateral_ones_keep_their_side(rig):
    still = _surface(rig, {}).vertices
    for number, unit in ACTION_UNITS.items():
        moved = np.linalg.norm(_surface(rig, {number: 1.0}).vertices - still, axis=1)
        assert moved.max() > 0.1, unit.name
        if unit.lateral:
            left = np.linalg.norm(_surface(rig, Actions({number: 1.0}, {})).vertices - still, axis=1)
            assert left[still[:, 0] > 0.8].sum() > 4 * left[still[:, 0] < -0.8].sum(), unit.name


def test_shut_eyes_stay_shut_whatever_else_the_lids_do():
    shut = blend(Actions.of({43: 1.0, 5: 1.0, 7: 1.0}), (0.0, -20.0))
    assert shut["eyeBlink_L"] == shut["eyeBlink_R"] == 1
    assert not {name for name in shut if name.startswith(("eyeWide", "eyeSquint", "eyeLook"))}
    looking = blend(Actions(), (15.0, 10.0))
    assert set(looking) == {"eyeLookOut_L", "eyeLookIn_R", "eyeLookUp_L", "eyeLookUp_R"}


def test_people_differ_and_stay_themselves(rig):
    first, again, other = (rig.surface(sample_person(s), Actions(), (0.0, 0.0)).landmarks for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.3


def test_lips_meet_at_rest_and_part_when_told(rig):
    for seed in range(6):
        at_rest, parted = (
            rig.surface(sample_person(seed), Actions.of(units), (0.0, 0.0)).landmarks[:, 1]
            for units in ({}, {25: 1.0})
        )
        assert np.abs(at_rest[[61, 62, 63]] - at_rest[[67, 66, 65]]).max() < 0.08
        assert (parted[62] - parted[66]) > 0.3


def test_it_can_be_rendered(rig):
    picture = render(Scene(_person(), Actions.of({12: 0.8})), rig, 64)
    assert picture.visible[17:].sum() > 45
    assert (picture.regions > 0).mean() > 0.4
    assert picture.image.std() > 15


def test_the_folder_form_is_the_packed_form(packed, tmp_path):
    """Neutral, one expression and one identity mode as OBJ files; the others share the neutral one."""
    with np.load(packed, allow_pickle=False) as arrays:
        vertices, triangles = arrays["vertices"], arrays["triangles"]
        jaw = arrays["expressions"][list(arrays["expression_names"]).index("jawOpen")]
        mode = arrays["identity"][0]
    extra = np.zeros((5, 3), np.float32)  # the public files hold lashes and tear fluid after the parts used
    faces = "".join(f"f {a}/1/1 {b}/1/1 {c}/1/1\n" for a, b, c in triangles + 1) + f"f 1 2 {VERTICES + 2}\n"

    def write(name: str, points: np.ndarray, tail: str = "") -> None:
        rows = "".join(f"v {x:.6f} {y:.6f} {z:.6f}\n" for x, y, z in np.concatenate([points, extra]))
        (tmp_path / f"{name}.obj").write_text(rows + tail)

    write("generic_neutral_mesh", vertices, faces)
    write("still", vertices)
    write("jawOpen", vertices + jaw)
    write("identity000", vertices + mode)
    for name in EXPRESSIONS:
        if name != "jawOpen":
            os.link(tmp_path / "still.obj", tmp_path / f"{name}.obj")
    model, reference = read_model(tmp_path), read_model(packed)
    np.testing.assert_allclose(model.vertices, reference.vertices, atol=1e-5)
    np.testing.assert_array_equal(model.triangles, reference.triangles)
    at = EXPRESSIONS.index("jawOpen")
    np.testing.assert_allclose(model.expressions[at], reference.expressions[at], atol=1e-5)
    assert not np.delete(model.expressions, at, axis=0).any()
    assert model.identity.shape == (1, VERTICES, 3)
    assert open_ict(tmp_path).surface(_person(), Actions(), (0.0, 0.0)).landmarks.shape == (68, 3)
    (tmp_path / "jawOpen.obj").write_bytes(OBJ)
    with pytest.raises(DataError, match=r"jawOpen.*5 vertices"):
        open_ict(tmp_path)
    (tmp_path / "jawOpen.obj").unlink()
    with pytest.raises(DataError, match=r"jawOpen.*missing"):
        open_ict(tmp_path)


def test_obj_reader_reads_polygons_and_counts_from_the_end(tmp_path):
    path = tmp_path / "a.obj"
    path.write_bytes(OBJ)
    vertices, triangles = read_obj(path)
    np.testing.assert_allclose(vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1]])
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 4], [1, 2, 4]]
    assert len(read_obj(path, faces=False)[1]) == 0


@pytest.mark.parametrize(
    "text",
    [b"", b"f 1 2 3\n", OBJ + b"f 1 2 9\n", OBJ + b"f 1 x 2\n", b"v 1 2\n", b"v a b c\n", b"\x00\x80\xff"],
)
def test_broken_obj_files_are_refused(tmp_path, text):
    path = tmp_path / "a.obj"
    path.write_bytes(text)
    with pytest.raises(DataError, match=r"a\.obj"):
        read_obj(path)


def test_small_models_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="generic_neutral_mesh"):
        open_ict(tmp_path)
    for name in ("generic_neutral_mesh", "identity000", *EXPRESSIONS):
        (tmp_path / f"{name}.obj").write_bytes(OBJ)
    with pytest.raises(DataError, match=str(VERTICES)):
        open_ict(tmp_path)
    with pytest.raises(DataError, match="no face rig there"):
        open_ict(tmp_path / "absent.npz")


def _arrays(**changed: np.ndarray) -> dict[str, np.ndarray]:
    arrays = {
        "vertices": np.zeros((VERTICES, 3), np.float16), "triangles": np.array([[0, 1, 2]], np.int32),
        "expressions": np.zeros((len(EXPRESSIONS), VERTICES, 3), np.float16),
        "expression_names": np.array(EXPRESSIONS), "identity": np.zeros((1, VERTICES, 3), np.float16),
    }  # fmt: skip
    return {**arrays, **changed}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"vertices": np.zeros((9, 3))}, "no light face model"),
        ({"vertices": np.full((VERTICES, 3), np.nan)}, "damaged"),
        ({"triangles": np.array([[0, 1, VERTICES]])}, "not there"),
        ({"triangles": np.zeros((0, 3), int)}, "not there"),
        ({"triangles": np.zeros((2, 3))}, "damaged"),
        ({"expression_names": np.array(EXPRESSIONS[1:])}, "lacks the expression"),
        ({"expressions": np.zeros((2, VERTICES, 3))}, "another number"),
        ({"identity": np.array([{"a": 1}], object)}, "not a packed face rig"),
    ],
)
def test_damaged_models_are_refused(tmp_path, changed, says):
    path = tmp_path / "rig.npz"
    np.savez_compressed(path, **_arrays(**changed))
    with pytest.raises(DataError, match=says):
        open_ict(path)


def test_truncated_or_other_files_are_refused(tmp_path):
    path = tmp_path / "rig.npz"
    np.savez_compressed(path, **_arrays())
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"hello", whole[:-200] + bytes(100) + whole[-100:]):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"rig\.npz"):
            open_ict(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("note.txt", "nothing here")
    with pytest.raises(DataError, match="not a packed face rig"):
        open_ict(path)
