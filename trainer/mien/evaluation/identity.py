"""Estimators of identity behind one interface, for how far an edit moved the person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mien.errors import DataError
from mien.estimators.described import Described, read_description
from mien.estimators.named import make_named
from mien.estimators.network import Network

if TYPE_CHECKING:
    from mien.systems.facereader.load import Reader

_FIX = "give reader, onnx:DESCRIPTION.yaml, or MODULE:FUNCTION that returns an estimator"


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


class ReaderIdentity:
    """Rows from a face reader.

    Args:
        reader: a trained one.
        name: of it.
    """

    def __init__(self, reader: Reader, name: str) -> None:
        self._reader, self.name = reader, name

    def __call__(self, pictures: Tensor) -> Tensor:
        """As `IdentityEstimator`."""
        return self._reader.measure(pictures).identity


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
    if source == "reader":
        return ReaderIdentity(reader, name)
    kind, _, path = source.partition(":")
    if kind == "onnx" and path:
        return OnnxIdentity(read_description(Described, Path(path)))
    made: IdentityEstimator = make_named(source, "--identity", _FIX)
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
