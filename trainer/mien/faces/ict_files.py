"""Reading ICT-FaceKit's light face model: the public folder FaceXModel, or one npz packed from it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from mien.errors import DataError

VERTICES = 24591
"""Vertices of the parts that are used; those after them (lashes, tear fluid, blends) are left out."""

RANGES = {
    "skin": (0, 11248),
    "mouth_socket": (11248, 13294),
    "eye_sockets": (13294, 14062),
    "gums_tongue": (14062, 17039),
    "teeth": (17039, 21451),
    "eye_left": (21451, 23021),
    "eye_right": (23021, 24591),
}
"""Vertex ranges of the parts, as the model's own table gives them."""

_SIDED = (
    "browDown", "browInnerUp", "browOuterUp", "cheekPuff", "cheekSquint", "eyeBlink", "eyeLookDown",
    "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown",
    "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer",
)  # fmt: skip
_WHOLE = (
    "jawOpen", "jawForward", "mouthFunnel", "mouthPucker", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper",
)  # fmt: skip
EXPRESSIONS = tuple(sorted([f"{name}_{side}" for name in _SIDED for side in "LR"] + [*_WHOLE]))
"""Blendshapes that the rig needs."""

_MODES = 50
_MAX_BYTES = 512 * 2**20
_FIX = "get the folder FaceXModel of ICT-VGL/ICT-FaceKit, or pack it again"


@dataclass(frozen=True)
class IctModel:
    """The model as arrays; float32, centimetres, y up, z out of the face.

    Attributes:
        vertices: [VERTICES, 3], neutral mean head.
        triangles: int32 [t, 3].
        expressions: [len(EXPRESSIONS), VERTICES, 3], displacements at weight 1.
        identity: [modes, VERTICES, 3], displacements per standard deviation.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    expressions: np.ndarray
    identity: np.ndarray


def read_model(path: Path) -> IctModel:
    """Read the model from its folder or its npz.

    Raises:
        DataError: nothing is there, or it is not the model or damaged.
    """
    if path.is_dir():
        return _read_folder(path)
    if path.is_file():
        return _read_packed(path)
    raise DataError("no face rig there", where=path, fix=_FIX)


def _read_packed(path: Path) -> IctModel:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > _MAX_BYTES:
                raise DataError(f"unpacks to more than {_MAX_BYTES >> 20} MiB", where=path, fix=_FIX)
        with np.load(path, allow_pickle=False) as arrays:
            names = [str(name) for name in arrays["expression_names"]]
            vertices, triangles = arrays["vertices"], arrays["triangles"]
            expressions, identity = arrays["expressions"], arrays["identity"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"not a packed face rig ({error})", where=path, fix=_FIX) from error
    missing = [name for name in EXPRESSIONS if name not in names]
    if missing:
        raise DataError(f"lacks the expression {missing[0]}", where=path, fix=_FIX)
    order = [names.index(name) for name in EXPRESSIONS]
    if expressions.ndim != 3 or len(expressions) != len(names):
        raise DataError("has another number of expressions than of names", where=path, fix=_FIX)
    return _checked(vertices, triangles, expressions[order], identity[:_MODES], path)


def _read_folder(folder: Path) -> IctModel:
    neutral, triangles = read_obj(_file(folder, "generic_neutral_mesh"))

    def delta(name: str) -> np.ndarray:
        path = _file(folder, name)
        moved, _ = read_obj(path, faces=False)
        if len(moved) != len(neutral):
            raise DataError(
                f"has {len(moved)} vertices, the neutral head {len(neutral)}", where=path, fix=_FIX
            )
        return moved[:VERTICES] - neutral[:VERTICES]

    triangles = triangles[(triangles < VERTICES).all(axis=1)]
    modes = [delta(f"identity{k:03d}") for k in range(_MODES) if (folder / f"identity{k:03d}.obj").is_file()]
    if not modes:
        raise DataError("has no identity shapes", where=folder / "identity000.obj", fix=_FIX)
    expressions = np.stack([delta(name) for name in EXPRESSIONS])
    return _checked(neutral[:VERTICES], triangles, expressions, np.stack(modes), folder)


def _file(folder: Path, name: str) -> Path:
    path = folder / f"{name}.obj"
    if not path.is_file():
        raise DataError("is missing from the face rig", where=path, fix=_FIX)
    return path


def _checked(
    vertices: np.ndarray, triangles: np.ndarray, expressions: np.ndarray, identity: np.ndarray, where: Path
) -> IctModel:
    shapes = (vertices.shape[:1], expressions.shape[1:2], identity.shape[1:2])
    if any(shape != (VERTICES,) for shape in shapes):
        raise DataError(f"holds no light face model of {VERTICES} vertices", where=where, fix=_FIX)
    floats = [np.asarray(a, np.float32) for a in (vertices, expressions, identity)]
    sound = all(a.shape[-1] == 3 and np.isfinite(a).all() for a in floats)
    faces = np.asarray(triangles)
    if not sound or faces.ndim != 2 or faces.shape[1] != 3 or not np.issubdtype(faces.dtype, np.integer):
        raise DataError("holds damaged arrays", where=where, fix=_FIX)
    if len(faces) == 0 or faces.min() < 0 or faces.max() >= VERTICES:
        raise DataError("has triangles of vertices that are not there", where=where, fix=_FIX)
    return IctModel(floats[0], faces.astype(np.int32), floats[1], floats[2])


def read_obj(path: Path, faces: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Positions and triangles of a Wavefront OBJ file; all else in it is ignored.

    Args:
        path: the file.
        faces: whether to read the faces too; polygons become fans of triangles.

    Returns:
        Vertices float32 [v, 3], and triangles int32 [t, 3] (none if `faces` is false).

    Raises:
        DataError: the file is no OBJ text, too large, or has a face with a vertex that is not there.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"is larger than {_MAX_BYTES >> 20} MiB", where=path, fix=_FIX)
        lines = path.read_bytes().splitlines()
        rows = [line.decode("latin-1") for line in lines if line.startswith(b"v ")]
        vertices = _numbers(rows)
        triangles = _fans(line for line in lines if line.startswith(b"f ")) if faces else []
    except (OSError, ValueError) as error:
        raise DataError(f"not a readable OBJ file ({error})", where=path, fix=_FIX) from error
    index = np.array(triangles, np.int64).reshape(-1, 3)
    # Negative numbers count from the last vertex so far; files with one list of vertices count from its end.
    index = np.where(index < 0, index + len(vertices), index - 1)
    if len(vertices) == 0 or (len(index) and (index.min() < 0 or index.max() >= len(vertices))):
        raise DataError("an OBJ file without vertices or with a face beyond them", where=path, fix=_FIX)
    return vertices, index.astype(np.int32)


def _numbers(rows: list[str]) -> np.ndarray:
    """The three numbers after the first word of each row, float32 [n, 3]."""
    if not rows:
        return np.zeros((0, 3), np.float32)
    return np.loadtxt(rows, np.float32, comments=None, usecols=(1, 2, 3), ndmin=2)


def _fans(lines: Iterable[bytes]) -> list[tuple[int, int, int]]:
    triangles = []
    for line in lines:
        corners = [int(word.split(b"/")[0]) for word in line.split()[1:]]
        triangles += [(corners[0], b, c) for b, c in pairwise(corners[1:])]
    return triangles
