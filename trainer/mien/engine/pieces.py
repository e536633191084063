"""What a rank holds of a tensor, and files of such parts: how a checkpoint gets from any layout to any other.

DDP holds every tensor whole, FSDP2 some of its rows, ZeRO a stretch of its elements. All of them are
stretches of the tensor read row by row. A rank writes its stretches into `part-<rank>.safetensors`
(one-dimensional tensors; where each lies is in the file's metadata), and whoever restores copies out of all
files what it holds itself. Nothing is unpickled and no rank needs to hold a whole tensor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mien.errors import RunError

PART = "part-{rank:05d}-of-{world:05d}.safetensors"
"""Name of a rank's file."""


@dataclass(frozen=True)
class Piece:
    """Elements [start, start + tensor.numel()) of a tensor of that shape, read row by row.

    Attributes:
        tensor: those elements, live: writing into it changes the run. Any shape; a whole tensor has its own.
        start: where they begin.
        shape: of the whole tensor.
        shared: whether every rank holds this same piece, so that the first one writes it for all.
        fleeting: whether a forward pass may change it; everything else changes in the optimiser's step only.
    """

    tensor: Tensor
    start: int
    shape: tuple[int, ...]
    shared: bool = False
    fleeting: bool = False

    @classmethod
    def whole(cls, tensor: Tensor, *, fleeting: bool = False) -> Piece:
        """A tensor that every rank holds all of."""
        return cls(tensor, 0, tuple(tensor.shape), shared=True, fleeting=fleeting)

    @property
    def numel(self) -> int:
        """Elements of the whole tensor."""
        return math.prod(self.shape)

    def like(self, tensor: Tensor) -> Piece:
        """The same stretch of another tensor, such as a moment of a weight."""
        return Piece(tensor, self.start, self.shape, self.shared)


def flattened(pieces: Mapping[str, Piece]) -> tuple[dict[str, Tensor], dict[str, list[Any]]]:
    """Tensors to write and where each lies; pieces without elements are left out.

    Args:
        pieces: by name.

    Returns:
        One-dimensional tensors, which share memory with the pieces where they can, and `[start, shape]`.
    """
    held = {name: piece for name, piece in pieces.items() if piece.tensor.numel()}
    tensors = {name: piece.tensor.detach().reshape(-1) for name, piece in held.items()}
    return tensors, {name: [piece.start, list(piece.shape)] for name, piece in held.items()}


def write(path: Path, tensors: Mapping[str, Tensor], places: Mapping[str, list[Any]]) -> None:
    """Write a rank's file.

    Args:
        path: the file.
        tensors: what `flattened` gave, on the CPU.
        places: what `flattened` gave.
    """
    # The format refuses tensors that share memory, such as tied weights; here each has one name.
    save_file(dict(tensors), path, {"format": "pt", "places": json.dumps(places)})


class PartFiles:
    """The files of one checkpoint, read piece by piece.

    Args:
        paths: all of them.

    Raises:
        RunError: if one cannot be read, or parts of a tensor contradict each other.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._parts: dict[str, list[tuple[int, Path]]] = {}
        for path in sorted(paths):
            for name, (start, shape) in _places(path).items():
                if self.shapes.setdefault(name, tuple(shape)) != tuple(shape):
                    raise RunError(f"{name} has two shapes", where=path, fix="choose another checkpoint")
                self._parts.setdefault(name, []).append((start, path))
        self._open: dict[Path, Any] = {}

    def names(self) -> list[str]:
        """Every tensor, in order of name."""
        return sorted(self.shapes)

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements [start, stop) of a tensor read row by row, on the CPU.

        Raises:
            RunError: if there is no such tensor, or some of its elements are in no file.
        """
        found: Tensor | None = None
        missing = stop - start
        for first, path in self._parts.get(name, []):
            handle = self._handle(path)
            part = handle.get_slice(name)
            length = part.get_shape()[0]
            low, high = max(start, first), min(stop, first + length)
            if low >= high:
                continue
            values = part[low - first : high - first]
            if found is None:
                found = values if high - low == stop - start else values.new_empty(stop - start)
            if found is not values:
                found[low - start : high - start] = values
            missing -= high - low
        if missing or found is None:
            where = next((path for _, path in self._parts.get(name, [])), "checkpoint")
            raise RunError(
                f"{missing} elements of {name} are in no file", where=where, fix="choose another checkpoint"
            )
        return found

    def whole(self, name: str) -> Tensor:
        """A whole tensor on the CPU.

        Raises:
            RunError: as `read`.
        """
        shape = self.shapes.get(name, ())
        return self.read(name, 0, math.prod(shape)).view(shape)

    @torch.no_grad()
    def fill(self, pieces: Mapping[str, Piece]) -> None:
        """Copy into each piece what the files have of it.

        Raises:
            RunError: if a tensor is absent or has another shape.
        """
        for name, piece in pieces.items():
            if name in self.shapes and self.shapes[name] != piece.shape:
                here, there = list(piece.shape), list(self.shapes[name])
                raise RunError(
                    f"{name} is {there} in the checkpoint and {here} in the recipe",
                    where="model",
                    fix="take the change of the recipe back, or start a new run without --resume",
                )
            length = piece.tensor.numel()
            if length:
                values = self.read(name, piece.start, piece.start + length)
                piece.tensor.copy_(values.view(piece.tensor.shape))

    def _handle(self, path: Path) -> Any:
        if path not in self._open:
            self._open[path] = safe_open(path, "pt")
        return self._open[path]


def _places(path: Path) -> dict[str, list[Any]]:
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {})["places"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise RunError(f"checkpoint cannot be read: {error}", where=path, fix="choose another one") from error
