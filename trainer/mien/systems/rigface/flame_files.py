"""Reading FLAME: plain arrays of an npz under their published names, never a pickle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from mien.errors import DataError

MODEL, EMBEDDING = "generic_model.npz", "landmark_embedding.npz"
"""Files of a FLAME folder."""

JOINTS = 5
"""Root, neck, jaw, left eye, right eye."""
SHAPES = 300
"""Columns of `shapedirs` that are identity; those after them are expression."""
EXPRESSIONS = 50
"""Expression coefficients that are used, as in DECA."""

_CONVERT = "convert it once, in a sandbox that you trust with the pickle: np.savez({}, **arrays), all dense"
_ARRAYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
_PLACES = ("full_lmk_faces_idx", "full_lmk_bary_coords")


@dataclass(frozen=True)
class FlameArrays:
    """FLAME as arrays; metres, x to the person's left, y up, z out of the face.

    Attributes:
        template: float32 [v, 3].
        triangles: int32 [t, 3], counter-clockwise from outside.
        shapes: float32 [v, 3, 300], displacements per standard deviation.
        expressions: float32 [v, 3, 50].
        correctives: float32 [v, 3, 36], pose correctives of the four joints below the root.
        regressor: float32 [5, v], joints from vertices.
        weights: float32 [v, 5], skinning weights.
        parents: int [5], -1 for the root.
        landmark_triangles: int [68].
        landmark_weights: float32 [68, 3], barycentric.
    """

    template: np.ndarray
    triangles: np.ndarray
    shapes: np.ndarray
    expressions: np.ndarray
    correctives: np.ndarray
    regressor: np.ndarray
    weights: np.ndarray
    parents: np.ndarray
    landmark_triangles: np.ndarray
    landmark_weights: np.ndarray


def holds_flame(path: Path) -> bool:
    """Whether the folder is FLAME's, as arrays or still as a pickle."""
    return any((path / name).is_file() for name in (MODEL, "generic_model.pkl"))


def read_flame(folder: Path) -> FlameArrays:
    """Read FLAME from its folder.

    Raises:
        DataError: a file or an array is missing, damaged, of another shape, or a pickle.
    """
    model = _load(folder, MODEL, _ARRAYS)
    places = _load(folder, EMBEDDING, _PLACES)
    count, where = len(model["v_template"]), folder / MODEL
    _expect(model, {
        "v_template": (count, 3), "posedirs": (count, 3, 9 * (JOINTS - 1)), "J_regressor": (JOINTS, count),
        "weights": (count, JOINTS), "kintree_table": (2, JOINTS),
        "f": (len(model["f"]), 3), "shapedirs": (count, 3, model["shapedirs"].shape[-1]),
    }, where)  # fmt: skip
    if model["shapedirs"].shape[2] < SHAPES + EXPRESSIONS:
        what = f"shapedirs has {model['shapedirs'].shape[2]} modes, fewer than {SHAPES + EXPRESSIONS}"
        raise DataError(what, where=where, fix="take the full model: 300 modes of shape, 100 of expression")
    triangles = _indices(model["f"], count, "f", where)
    where = folder / EMBEDDING
    # Some files keep the batch axis of the code that wrote them.
    corner, weights = places[_PLACES[0]].reshape(-1), places[_PLACES[1]].reshape(-1, 3)
    _expect({_PLACES[0]: corner, _PLACES[1]: weights}, {_PLACES[0]: (68,), _PLACES[1]: (68, 3)}, where)
    modes = model["shapedirs"].astype(np.float32)
    return FlameArrays(
        template=model["v_template"].astype(np.float32),
        triangles=_outward(model["v_template"], triangles),
        shapes=modes[..., :SHAPES],
        expressions=modes[..., SHAPES : SHAPES + EXPRESSIONS],
        correctives=model["posedirs"].astype(np.float32),
        regressor=model["J_regressor"].astype(np.float32),
        weights=model["weights"].astype(np.float32),
        parents=_parents(model["kintree_table"][0], folder / MODEL),
        landmark_triangles=_indices(corner, len(triangles), _PLACES[0], where),
        landmark_weights=weights.astype(np.float32),
    )


def _load(folder: Path, name: str, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    path = folder / name
    if not path.is_file():
        others = [p.name for p in (path.with_suffix(".pkl"), path.with_suffix(".npy")) if p.is_file()]
        what = f"only {others[0]} is there, and mien reads no pickles" if others else "missing"
        raise DataError(what, where=path, fix=_CONVERT.format(name) + f"; arrays: {', '.join(wanted)}")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [array for array in wanted if array not in file]
            arrays = {array: file[array] for array in wanted if array in file}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(f"not a plain npz ({error})", where=path, fix=_CONVERT.format(name)) from error
    if missing:
        raise DataError(f"lacks {', '.join(missing)}", where=path, fix=_CONVERT.format(name))
    for array, values in arrays.items():
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all() or values.ndim == 0:
            raise DataError(f"{array} is damaged", where=path, fix=_CONVERT.format(name))
    return arrays


def _expect(arrays: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]], where: Path) -> None:
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            what = f"{name} is {[*arrays[name].shape]} in place of {[*shape]}"
            raise DataError(what, where=where, fix="take all arrays from one model file")


def _indices(values: np.ndarray, count: int, name: str, where: Path) -> np.ndarray:
    index = values.astype(np.int64)
    if len(index) == 0 or index.min() < 0 or index.max() >= count:
        raise DataError(f"{name} points beyond {count}", where=where, fix="take both files from one model")
    return index.astype(np.int32)


def _parents(row: np.ndarray, where: Path) -> np.ndarray:
    """Parent of each joint; the root's is written as -1 or as the largest unsigned number."""
    parents = row.astype(np.int64)
    parents[0] = -1
    if (parents[1:] < 0).any() or (parents[1:] >= np.arange(1, JOINTS)).any():
        raise DataError("kintree_table has a joint before its parent", where=where, fix="take FLAME's own")
    return parents


def _outward(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Triangles turned counter-clockwise from outside: the renderer drops what faces away."""
    a, b, c = (vertices[triangles[:, k]] - vertices.mean(axis=0) for k in range(3))
    volume = np.einsum("tc,tc->", a, np.cross(b, c))
    return triangles if volume >= 0 else triangles[:, ::-1].copy()
