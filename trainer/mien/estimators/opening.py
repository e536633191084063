"""An estimator by what a command line names it: of the reader, of a file, or of a function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from torch import Tensor

from mien.estimators.described import Described, read_description
from mien.estimators.named import make_named

if TYPE_CHECKING:
    from mien.systems.facereader.load import Reader

D = TypeVar("D", bound=Described)

_FIX = "give reader, onnx:DESCRIPTION.yaml, or MODULE:FUNCTION that returns an estimator"


class OfReader:
    """One reading of a face reader.

    Args:
        reader: a trained one.
        name: of it.
        reading: which.
    """

    def __init__(self, reader: Reader, name: str, reading: Literal["units", "identity"]) -> None:
        self._reader, self.name, self._reading = reader, name, reading

    def __call__(self, pictures: Tensor) -> Tensor:
        """Rows of uint8 pictures [N, 3, S, S]."""
        rows: Tensor = getattr(self._reader.measure(pictures), self._reading)
        return rows


def opened(source: str, option: str, own: OfReader, description: type[D], of_file: Callable[[D], Any]) -> Any:
    """An estimator.

    Args:
        source: "reader", "onnx:DESCRIPTION.yaml", or "MODULE:FUNCTION".
        option: where it was given, for messages.
        own: what "reader" means.
        description: what a description holds.
        of_file: makes an estimator of one.

    Raises:
        DataError: if it cannot be found, or is none.
    """
    if source == "reader":
        return own
    kind, _, path = source.partition(":")
    if kind == "onnx" and path:
        return of_file(read_description(description, Path(path)))
    return make_named(source, option, _FIX)
