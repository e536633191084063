"""Estimators of identity behind one interface, for how far an edit moved the person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mien.errors import DataError
from mien.estimators.described import Described
from mien.estimators.network import Network
from mien.estimators.opening import OfReader, opened

if TYPE_CHECKING:
    from mien.systems.facereader.load import Reader


class IdentityEstimator(Protocol):
    """Embeds faces; `name` states model and version, and is told with every number."""

    name: str

    def __call__(self, pictures: Tensor) -> Tensor:
        """Rows float [N, E] of uint8 [N, 3, S, S] RGB: near for one person, far for two; of any length."""
        ...


class OnnxIdentity:
    """Rows from an ONNX file, such as an ArcFace network.

    Args:
        about: its description.

    Raises:
        DataError: as `Network`.
    """

    def __init__(self, about: Described) -> None:
        self._network = Network(about)
        self.name = self._network.name

    def __call__(self, pictures: Tensor) -> Tensor:
        """As `IdentityEstimator`."""
        return torch.from_numpy(self._network(pictures))


def open_identity(source: str, reader: Reader, name: str) -> IdentityEstimator:
    """Open an estimator.

    Args:
        source: "reader", "onnx:DESCRIPTION.yaml" (`mien.estimators.described.Described`), or
            "MODULE:FUNCTION".
        reader: what "reader" means.
        name: of that.

    Raises:
        DataError: if it cannot be found, or is none.
    """
    own = OfReader(reader, name, "identity")
    made: IdentityEstimator = opened(source, "--identity", own, Described, OnnxIdentity)
    return made


def identities(estimator: IdentityEstimator, pictures: Tensor) -> Tensor:
    """Unit rows float32 [N, E] of pictures uint8 [N, 3, S, S].

    Raises:
        DataError: if the estimator gives numbers of another shape, or one that is not finite.
    """
    found = torch.as_tensor(np.asarray(estimator(pictures), np.float32))
    if found.ndim != 2 or len(found) != len(pictures):
        what = f"{len(pictures)} pictures give numbers of shape {[*found.shape]}"
        raise DataError(what, where=estimator.name, fix="return a row a picture")
    if not found.isfinite().all():
        raise DataError("identity rows are not finite", where=estimator.name, fix="give another network")
    return F.normalize(found, dim=1)
