"""FLAME on a small random model with the array names and shapes of the real one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mien.errors import DataError, MienError
from mien.systems.rigface.backend import FlameBackend, open_backend
from mien.systems.rigface.codes import SPACES
from mien.systems.rigface.flame import FlameModel, skinned
from mien.systems.rigface.flame_files import read_flame
from mien.systems.rigface.framing import anchor
from mien.systems.rigface.modes import mix
from rigface_faces import codes, flame_codes

PARENTS = [4294967295, 0, 1, 1, 1]


def _ball(centre: tuple[float, float, float], radius: tuple[float, float, float], rows: int = 13):
    """Vertices [v, 3] and triangles [t, 3], counter-clockwise from outside, of an ellipsoid."""
    columns = 2 * rows
    polar, around = np.meshgrid(
        np.linspace(0, np.pi, rows), 2 * np.pi * np.arange(columns) / columns, indexing="ij"
    )
    unit = np.stack([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)], axis=-1)
    a, b = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    corner = [a * columns + b, (a + 1) * columns + b, (a + 1) * columns + (b + 1) % columns]
    other = [corner[0], corner[2], a * columns + (b + 1) % columns]
    triangles = np.concatenate([np.stack(half, axis=-1).reshape(-1, 3) for half in (corner, other)])
    return unit.reshape(-1, 3) * radius + centre, triangles


def _arrays(flipped: bool = False) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """An egg of a head with two eyeballs, its lower half following the jaw; metres."""
    rng = np.random.default_rng(0)
    head, faces = _ball((0, 0, 0), (0.075, 0.11, 0.09))
    left, ball = _ball((0.032, 0.03, 0.078), (0.014,) * 3, 7)
    vertices = np.concatenate([head, left, left * [-1, 1, 1]])
    # A mirrored ball is inside out.
    triangles = np.concatenate([faces, ball + len(head), ball[:, ::-1] + len(head) + len(left)])
    count = len(vertices)
    weights = np.zeros((count, 5))
    lower = np.clip(-head[:, 1] / 0.05, 0, 1) * (head[:, 2] > 0)
    weights[: len(head), 2], weights[: len(head), 1] = lower, 1 - lower
    weights[len(head) : len(head) + len(left), 3] = 1
    weights[len(head) + len(left) :, 4] = 1
    regressor = rng.uniform(0, 1, (5, count))
    # The joint of an eye is the middle of its ball.
    regressor[3:] = weights.T[3:]
    regressor /= regressor.sum(axis=1, keepdims=True)
    skin = weights[:, 1:3].sum(axis=1)[:, None, None]
    model = {
        "v_template": vertices, "f": (triangles[:, ::-1] if flipped else triangles).astype(np.uint32),
        "shapedirs": 5e-4 * rng.standard_normal((count, 3, 400)) * skin,
        "posedirs": 1e-3 * rng.standard_normal((count, 3, 36)),
        "J_regressor": regressor, "weights": weights,
        "kintree_table": np.array([PARENTS, range(5)], np.uint32),
    }  # fmt: skip
    return model, _embedding(vertices, triangles)


def _embedding(vertices: np.ndarray, triangles: np.ndarray) -> dict[str, np.ndarray]:
    """68 places: a ring for the jaw, and points around the eyes and the mouth."""
    turn = np.linspace(0, 2 * np.pi, 68)
    wanted = np.stack([0.06 * np.cos(turn), 0.08 * np.sin(turn), np.full(68, 0.05)], axis=1)
    wanted[36:48] = [0.032, 0.03, 0.09]
    wanted[42:48, 0] *= -1
    wanted[48:] = [0.0, -0.05, 0.08]
    middles = vertices[triangles].mean(axis=1)
    nearest = np.linalg.norm(middles[None] - wanted[:, None], axis=2).argmin(axis=1)
    bary = np.random.default_rng(1).dirichlet(np.ones(3), 68)
    return {"full_lmk_faces_idx": nearest[None], "full_lmk_bary_coords": bary[None]}


def _write(folder: Path, model: dict[str, np.ndarray], places: dict[str, np.ndarray]) -> Path:
    np.savez(folder / "generic_model.npz", **model)
    np.savez(folder / "landmark_embedding.npz", **places)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("flame"), *_arrays())


def _turns(seed: int, joints: tuple[int, ...]) -> np.ndarray:
    """Rotations [5, 3, 3] of the named joints by up to about half a radian; the others stay."""
    vectors = np.zeros((5, 3))
    vectors[list(joints)] = 0.3 * np.random.default_rng(seed).standard_normal((len(joints), 3))
    return Rotation.from_rotvec(vectors).as_matrix()


def _by_hand(
    model: dict[str, np.ndarray], shape: np.ndarray, psi: np.ndarray, turns: np.ndarray
) -> np.ndarray:
    """Linear blend skinning as the paper writes it, one vertex after another, with 4 x 4 matrices."""
    beta = np.zeros(400)
    beta[: len(shape)], beta[300:350] = shape, psi
    shaped = model["v_template"] + model["shapedirs"] @ beta
    joints = model["J_regressor"] @ shaped
    feature = np.concatenate([(turn - np.eye(3)).ravel() for turn in turns[1:]])
    posed = shaped + model["posedirs"] @ feature
    world = []
    for joint, parent in enumerate([-1, 0, 1, 1, 1]):
        local = np.eye(4)
        local[:3, :3], local[:3, 3] = turns[joint], joints[joint] - (joints[parent] if joint else 0)
        world.append(world[parent] @ local if joint else local)
    out = np.zeros_like(posed)
    for v, point in enumerate(posed):
        for joint in range(5):
            away = np.append(point - joints[joint], 1)
            out[v] += model["weights"][v, joint] * (world[joint] @ away)[:3]
    return out


@pytest.mark.parametrize("joints", [(), (2,), (0, 1, 2, 3, 4)])
def test_skinning_is_that_of_the_paper(folder, joints):
    given, turns = flame_codes(), _turns(4, joints)
    found, _ = skinned(read_flame(folder), given.shape, given.expression[:50], turns)
    assert found.dtype == np.float32
    by_hand = _by_hand(_arrays()[0], given.shape, given.expression[:50], turns)
    np.testing.assert_allclose(found, by_hand, atol=1e-6)


def test_the_jaw_moves_what_it_carries_and_no_more(folder):
    model, _ = _arrays()
    arrays = read_flame(folder)
    arrays = replace(arrays, correctives=np.zeros_like(arrays.correctives))
    turns = _turns(2, (2,))
    rest, joints = skinned(arrays, np.zeros(100), np.zeros(50), _turns(0, ()))
    opened, _ = skinned(arrays, np.zeros(100), np.zeros(50), turns)
    moved = np.linalg.norm(opened - rest, axis=1)
    assert (moved[model["weights"][:, 2] == 0] < 1e-7).all()
    full = model["weights"][:, 2] == 1
    np.testing.assert_allclose(opened[full], (rest[full] - joints[2]) @ turns[2].T + joints[2], atol=1e-6)
    surface = [
        FlameModel(arrays).surface(np.zeros(100), np.append(np.zeros(50), [jaw, 0, 0])).vertices
        for jaw in (0, 0.3)
    ]
    # A positive turn about x swings what is before the joint downwards.
    before = full & (rest[:, 2] > joints[2, 2] + 0.02)
    assert (surface[1][before, 1] < surface[0][before, 1]).all()


def test_a_surface_is_in_the_head_frame_of_the_face_world(folder):
    model = FlameModel(read_flame(folder))
    surface = model.surface(np.zeros(100, np.float32), np.zeros(53, np.float32))
    np.testing.assert_allclose(surface.eyes.mean(axis=0), [0, 3.5, 8.1], atol=1e-4)
    assert surface.eyes[0, 0] > 2 > -2 > surface.eyes[1, 0]
    assert surface.eye_radius == pytest.approx(1.4, abs=0.05)
    assert np.ptp(surface.vertices[:, 1]) == pytest.approx(22, abs=0.1)
    assert set(np.unique(surface.part)) == {0, 1, 2}
    smiling = model.surface(np.zeros(100, np.float32), flame_codes().expression)
    np.testing.assert_array_equal(smiling.resting, surface.landmarks)
    assert np.abs(smiling.landmarks - surface.landmarks).max() > 0.1


def test_the_backend_draws_it(folder):
    backend = open_backend(folder)
    assert isinstance(backend, FlameBackend)
    assert (backend.name, backend.space, backend.expression_size) == ("flame", "flame", 53)
    given = flame_codes()
    drawn = backend.render(given, 64)
    assert 0.3 < drawn.alpha.mean() < 0.9
    np.testing.assert_array_equal(backend.expression(given), given.expression)
    constant = np.zeros((9, 3), np.float32)
    constant[0] = 2.0
    even = backend.render(replace(given, light=constant), 64)
    expected = even.albedo * even.alpha[..., None] * 2 / np.sqrt(4 * np.pi)
    np.testing.assert_allclose(even.radiance, expected, rtol=1e-4, atol=1e-6)
    # Eyeballs are white and the skin is not.
    skin = np.abs(even.albedo - given.albedo).max(axis=2) < 1e-4
    white = even.albedo.min(axis=2) > given.albedo.max()
    assert skin.mean() > 0.3
    assert white.sum() > 10


def test_edits_keep_the_head_in_place(folder):
    backend = open_backend(folder)
    source, pose = flame_codes(), (35.0, 10.0, 0.0)
    turned = mix(source, replace(flame_codes(1), pose=pose, boxed=pose), "pose")
    before, after = (backend.render(item, 64).landmarks for item in (source, turned))
    flat = [anchor(np.pad(points, ((0, 0), (0, 1))))[:2] for points in (before, after)]
    assert np.abs(flat[0] - flat[1]).max() < 2
    assert np.abs(before - after).max() > 3


def test_triangles_may_run_either_way(folder, tmp_path):
    other = open_backend(_write(tmp_path, *_arrays(flipped=True)))
    given = flame_codes()
    np.testing.assert_allclose(
        other.render(given, 32).radiance, open_backend(folder).render(given, 32).radiance, atol=1e-5
    )


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"v_template": None}, "lacks v_template"),
        ({"posedirs": np.zeros((3, 3, 36))}, r"posedirs is \[3, 3, 36\] in place of"),
        ({"weights": np.zeros((9, 5))}, r"weights is \[9, 5\]"),
        ({"f": np.array([[0, 1, 10**6]])}, "f points beyond"),
        ({"J_regressor": np.full(3, np.nan)}, "J_regressor is damaged"),
        ({"v_template": np.float64(1)}, "v_template is damaged"),
        ({"kintree_table": np.array([[0, 2, 1, 1, 1], range(5)])}, "a joint before its parent"),
        ({"shapedirs": np.array([{"a": 1}], object)}, "not a plain npz"),
    ],
)
def test_damaged_models_are_refused(tmp_path, changed, says):
    model, places = _arrays()
    merged = {name: array for name, array in {**model, **changed}.items() if array is not None}
    _write(tmp_path, merged, places)
    with pytest.raises(DataError, match=says) as caught:
        open_backend(tmp_path)
    assert "generic_model.npz" in caught.value.where


def test_too_few_modes_are_refused(tmp_path):
    model, places = _arrays()
    _write(tmp_path, {**model, "shapedirs": model["shapedirs"][..., :110]}, places)
    with pytest.raises(DataError, match="110 modes, fewer than 350"):
        open_backend(tmp_path)


def test_pickles_are_not_read(tmp_path):
    (tmp_path / "generic_model.pkl").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(DataError, match=r"only generic_model\.pkl is there.*reads no pickles.*v_template"):
        open_backend(tmp_path)
    model, places = _arrays()
    np.savez(tmp_path / "generic_model.npz", **model)
    with pytest.raises(DataError, match=r"landmark_embedding\.npz: missing.*full_lmk_faces_idx"):
        open_backend(tmp_path)
    np.savez(tmp_path / "landmark_embedding.npz", **{**places, "full_lmk_faces_idx": np.zeros((1, 51), int)})
    with pytest.raises(DataError, match=r"full_lmk_faces_idx is \[51\] in place of \[68\]"):
        open_backend(tmp_path)


def test_it_draws_its_own_codes_only(folder):
    backend = open_backend(folder)
    with pytest.raises(MienError, match="draws codes of 'flame', not of 'world'"):
        backend.render(codes(0), 32)
    with pytest.raises(MienError, match="cannot fit"):
        backend.fit(np.zeros((8, 8, 3), np.uint8))
    assert SPACES["flame"] == (100, 53)
