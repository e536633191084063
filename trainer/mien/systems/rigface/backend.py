"""3D faces behind one interface: the rigs of the face world, and FLAME where the user has it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from mien.errors import DataError, MienError
from mien.faces.rig import Rig, open_rig
from mien.systems.rigface.codes import SPACES, Codes, actions_of
from mien.systems.rigface.flame import FlameModel
from mien.systems.rigface.flame_files import holds_flame, read_flame
from mien.systems.rigface.paint import charted, nobody, plain
from mien.systems.rigface.rendering import RigRendering, draw

LIMIT = 1.3
"""Highest intensity of an action unit that a rig shows: a target at its fullest, overdone by the most that
`modes.mix` allows."""

_BFM = ("BFM_model_front.mat", "01_MorphableModel.mat", "model2019_fullHead.h5")


class FaceRigBackend(Protocol):
    """What RigFace needs of a 3D face.

    Attributes:
        name: of the rig; a model trained with one backend does not understand the pictures of another.
        space: of the codes it draws, one of `codes.SPACES`.
        expression_size: length of the expression vector, the width of the condition.
    """

    name: str
    space: str
    expression_size: int

    def render(self, codes: Codes, size: int) -> RigRendering:
        """The head of `codes` on black, `size` x `size` pixels.

        Raises:
            MienError: for codes of another space or a size below 1.
        """
        ...

    def fit(self, image: np.ndarray) -> Codes:
        """The codes of the face in a photograph, uint8 [H, W, 3] sRGB.

        Raises:
            MienError: this backend has no fitter, or it finds no face.
        """
        ...

    def expression(self, codes: Codes) -> np.ndarray:
        """Psi, float32 [expression_size]: what the rendering shows of `codes.expression`.

        Raises:
            MienError: for codes of another space.
        """
        ...


class WorldBackend:
    """A rig of the face world: the built-in head or ICT-FaceKit's; see `FaceRigBackend`."""

    space = "world"
    expression_size = SPACES["world"][1]

    def __init__(self, rig: Rig) -> None:
        self.name = rig.name
        self._rig = rig

    def render(self, codes: Codes, size: int) -> RigRendering:
        """The head of `codes` on black; see `FaceRigBackend.render`."""
        person = replace(nobody(), shape=codes.shape)
        surface = self._rig.surface(person, actions_of(self.expression(codes)), codes.gaze)
        return draw(codes, surface, size, charted)

    def fit(self, image: np.ndarray) -> Codes:
        """Raises MienError: the rigs of the face world know the codes of their own scenes only."""
        raise no_fitter(self.name)

    def expression(self, codes: Codes) -> np.ndarray:
        """Psi, cut to [0, `LIMIT`]: no face shows less than rest of an action unit."""
        check_space(codes, self.space, self.name)
        return psi_shown(codes)


class FlameBackend:
    """FLAME's head; see `FaceRigBackend`. Psi is 50 expression coefficients and the jaw, unbounded."""

    name = "flame"
    space = "flame"
    expression_size = SPACES["flame"][1]

    def __init__(self, model: FlameModel) -> None:
        self._model = model

    def render(self, codes: Codes, size: int) -> RigRendering:
        """The head of `codes` on black; see `FaceRigBackend.render`."""
        return draw(codes, self._model.surface(codes.shape, self.expression(codes)), size, plain)

    def fit(self, image: np.ndarray) -> Codes:
        """Raises MienError: FLAME's files hold no network that fits it to photographs."""
        raise no_fitter(self.name)

    def expression(self, codes: Codes) -> np.ndarray:
        """Psi as the codes hold it."""
        check_space(codes, self.space, self.name)
        return psi_shown(codes)


def psi_shown(codes: Codes) -> np.ndarray:
    """Psi as the backends of the codes' space show it, float32 [E]; needs no mesh."""
    return np.clip(codes.expression, 0, np.float32(LIMIT)) if codes.space == "world" else codes.expression


def check_space(codes: Codes, space: str, name: str) -> None:
    """Raises MienError where `codes` are not of `space`, which backend `name` draws."""
    if codes.space != space:
        fix = f"open the backend that the codes were made for ({codes.space})"
        raise MienError(f"draws codes of {space!r}, not of {codes.space!r}", where=f"backend {name}", fix=fix)


def no_fitter(name: str) -> MienError:
    """The error of a backend that cannot fit a photograph."""
    return MienError(
        "cannot fit a photograph",
        where=f"backend {name}",
        fix="use codes.codes_of for pictures of the face world; for photographs give the records of a FLAME "
        "fitter such as DECA or SMIRK as codes of space 'flame'",
    )


def open_backend(source: str | Path = "builtin") -> FaceRigBackend:
    """Open a 3D face.

    Args:
        source: "builtin"; ICT-FaceKit's folder FaceXModel or an npz packed from it; or a folder with FLAME's
            `generic_model.npz` and `landmark_embedding.npz`.

    Raises:
        DataError: nothing usable is there; says what is missing.
    """
    if source == "builtin":
        return WorldBackend(open_rig())
    path = Path(source)
    if holds_flame(path):
        return FlameBackend(FlameModel(read_flame(path)))
    found = [name for name in _BFM if (path / name).is_file()]
    if found:
        fix = "use 'builtin', ICT-FaceKit or FLAME; psi of BFM needs its own regressor, which is not here"
        raise DataError("is a Basel face model, which no backend draws", where=path / found[0], fix=fix)
    return WorldBackend(open_rig(path))
