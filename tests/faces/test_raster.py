from __future__ import annotations

import numpy as np
import pytest

from mien.faces.raster import rasterise


def _quad(depth: float, x: float = 2.0, size: float = 10.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A square in the picture, seen from outside: corners anti-clockwise to the eye."""
    points = np.array([[x, x], [x, x + size], [x + size, x + size], [x + size, x]], np.float32)
    return points, np.full(4, depth, np.float32), np.array([[0, 1, 2], [0, 2, 3]])


def test_a_square_covers_its_pixels_once():
    seen = rasterise(*_quad(5.0), 16, 16)
    covered = np.zeros((16, 16), bool)
    covered.flat[seen.pixel] = True
    assert covered[2:12, 2:12].all()
    assert covered.sum() == len(seen.pixel) == 100
    np.testing.assert_allclose(seen.weights.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(seen.depth, 5, rtol=1e-5)


def test_the_nearest_wins_and_the_back_is_dropped():
    far, near = _quad(9.0), _quad(3.0, x=6.0, size=4.0)
    points = np.concatenate([far[0], near[0]])
    depth = np.concatenate([far[1], near[1]])
    triangles = np.concatenate([far[2], near[2] + 4])
    seen = rasterise(points, depth, triangles, 16, 16)
    picture = np.zeros((16, 16))
    picture.flat[seen.pixel] = seen.depth
    assert (picture[6:10, 6:10] < 4).all()
    assert picture[3, 3] == pytest.approx(9)
    turned = rasterise(points, depth, np.concatenate([far[2], near[2][:, ::-1] + 4]), 16, 16)
    np.testing.assert_allclose(turned.depth, 9, rtol=1e-5)


def test_weights_are_correct_in_perspective():
    """A floor that runs away from the camera: depth is linear in space, not in the picture."""
    focal, rng = 100.0, np.random.default_rng(0)
    corners = np.array([[-3, -2, 4], [3, -2, 4], [0, 3, 30]], np.float32)
    points = np.stack(
        [focal * corners[:, 0] / corners[:, 2] + 100, 100 - focal * corners[:, 1] / corners[:, 2]], 1
    )
    seen = rasterise(points.astype(np.float32), corners[:, 2], np.array([[0, 1, 2]]), 200, 200)
    spot = seen.interpolate(corners, np.array([[0, 1, 2]]))
    pick = rng.choice(len(spot), 200)
    u = focal * spot[pick, 0] / spot[pick, 2] + 100
    np.testing.assert_allclose(u, seen.pixel[pick] % 200 + 0.5, atol=0.02)
    np.testing.assert_allclose(spot[pick, 2], seen.depth[pick], rtol=1e-4)


def test_a_mesh_has_no_cracks_and_nothing_outside_is_drawn():
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[0:21, 0:21].astype(np.float32)
    points = np.stack([columns, rows], -1).reshape(-1, 2) * 4 - 8 + 0.8 * rng.random((441, 2))
    index = np.arange(441).reshape(21, 21)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate(
        [np.stack([a, c, d], -1).reshape(-1, 3), np.stack([a, d, b], -1).reshape(-1, 3)]
    )
    seen = rasterise(points.astype(np.float32), np.full(441, 7, np.float32), triangles, 60, 50)
    assert len(np.unique(seen.pixel)) == 60 * 50
    assert not len(
        rasterise(points.astype(np.float32) + 500, np.full(441, 7, np.float32), triangles, 60, 50).pixel
    )
