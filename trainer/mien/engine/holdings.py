"""What a rank holds of weights and moments: one face of every layout for checkpoints, averages, guards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from mien.engine.pieces import PartFiles, Piece

MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's two averages, as torch names them."""


class Holdings(ABC):
    """Live views of a rank's part of the weights and of AdamW's moments; subclasses know one layout each.

    Args:
        module: parameters and persistent buffers give the names.
        optimizer: AdamW over the trainable parameters, or what a layout made of it.
    """

    sharded = True
    """Whether ranks hold different pieces, so that each writes a file of its own."""

    def __init__(self, module: nn.Module, optimizer: Any) -> None:
        self.module = module
        self.optimizer = optimizer
        self.parameters = dict(module.named_parameters())

    # --- weights

    @abstractmethod
    def piece(self, parameter: nn.Parameter) -> Piece | None:
        """The rank's stretch of a parameter, as precise as the optimiser steps it; None if it has none."""

    def trainable(self) -> dict[str, Piece]:
        """Pieces of what is trained, by name."""
        found = {name: self.piece(p) for name, p in self.parameters.items() if p.requires_grad}
        return {name: piece for name, piece in found.items() if piece is not None}

    def weights(self) -> dict[str, Piece]:
        """Pieces of all parameters and persistent buffers, by name."""
        found = {name: self.piece(p) for name, p in self.parameters.items()}
        pieces = {name: piece for name, piece in found.items() if piece is not None}
        buffers = _buffers(self.module).items()
        return pieces | {name: Piece.whole(buffer, fleeting=True) for name, buffer in buffers}

    def refresh(self) -> None:  # noqa: B027
        """Bring what computes in line after pieces were written; on all ranks at once.

        Nothing to do where the pieces are the weights that compute.
        """

    def clamp(self, bounds: Iterable[tuple[nn.Parameter, float, float]]) -> None:
        """Keep parameters in a range: (parameter, lowest, highest); on all ranks at once."""
        changed = False
        with torch.no_grad():
            for parameter, low, high in bounds:
                changed = True
                piece = self.piece(parameter)
                if piece is not None:
                    piece.tensor.clamp_(low, high)
        if changed:
            self.refresh()

    # --- the optimiser

    @abstractmethod
    def moments(self, *, make: bool = False) -> dict[str, dict[str, Piece]]:
        """Pieces of each of `MOMENTS`, by parameter; without those that have had no step, unless `make`.

        A moment that is kept in eight bits is two pieces, such as `exp_avg_codes` and `exp_avg_scale`.
        """

    @abstractmethod
    def steps(self) -> dict[str, float]:
        """Steps that AdamW has counted for each parameter that has moments on this rank."""

    @abstractmethod
    def count(self, steps: Mapping[str, float]) -> None:
        """Set those counts; the moments exist."""

    # --- gradients

    @abstractmethod
    def norm(self) -> Tensor:
        """Norm of the whole gradient of this step, 0-d, the same on every rank; on all ranks at once.

        Not a finite number if an element is not.
        """

    @abstractmethod
    def clip(self, limit: float, norm: Tensor) -> None:
        """Scale the gradient down to at most that norm."""

    @abstractmethod
    def drop(self) -> None:
        """See to it that the coming optimiser step changes nothing."""

    # --- checkpoints

    def pieces(self) -> dict[str, Piece]:
        """All that a checkpoint holds of weights and moments: `weights/<name>`, `exp_avg/<name>`, ..."""
        found = {f"weights/{name}": piece for name, piece in self.weights().items()}
        for moment, parts in self.moments().items():
            found |= {f"{moment}/{name}": piece for name, piece in parts.items()}
        return found

    def restore(self, files: PartFiles, steps: Mapping[str, float]) -> None:
        """Take weights and moments out of a checkpoint of any layout; on all ranks at once.

        Args:
            files: the checkpoint's.
            steps: what `steps` gave, of all parameters.

        Raises:
            RunError: if a weight is absent or has another shape.
        """
        files.fill({f"weights/{name}": piece for name, piece in self.weights().items()})
        moments = self.moments(make=bool(steps))
        for moment, parts in moments.items():
            known = {name: piece for name, piece in parts.items() if name in steps}
            files.fill({f"{moment}/{name}": piece for name, piece in known.items()})
        if steps:
            self.count(steps)
        self.refresh()


class Replicated(Holdings):
    """Every rank holds everything: one process, or DDP."""

    sharded = False
    optimizer: torch.optim.Optimizer

    def piece(self, parameter: nn.Parameter) -> Piece:
        """The whole parameter."""
        return Piece.whole(parameter.data)

    def moments(self, *, make: bool = False) -> dict[str, dict[str, Piece]]:
        """Whole moments."""
        found: dict[str, dict[str, Piece]] = {moment: {} for moment in MOMENTS}
        for name, parameter in self._stepped(make).items():
            state = self.optimizer.state[parameter]
            for moment in MOMENTS:
                if moment in state:  # muon's matrices have no squares
                    for ending, part in self._parts(state[moment]).items():
                        found.setdefault(f"{moment}{ending}", {})[name] = self._moment(parameter, part)
        return found

    def _parts(self, moment: Tensor) -> dict[str, Tensor]:
        """The plain tensors of a moment, by ending of its name."""
        parts = getattr(self.optimizer, "parts", None)
        return {"": moment} if parts is None else parts(moment)

    def _moment(self, parameter: nn.Parameter, moment: Tensor) -> Piece:
        return Piece.whole(moment)

    def _stepped(self, make: bool = False) -> dict[str, nn.Parameter]:
        """Parameters that have moments; with `make` those of every trainable parameter come into being."""
        trained = {name: p for name, p in self.parameters.items() if p.requires_grad}
        if make:
            for parameter in trained.values():
                if not self.optimizer.state[parameter]:
                    self.optimizer.state[parameter] = _blank(parameter, self.optimizer)
        return {name: p for name, p in trained.items() if self.optimizer.state.get(p)}

    def steps(self) -> dict[str, float]:
        """As torch's AdamW counts them."""
        return {name: float(self.optimizer.state[p]["step"]) for name, p in self._stepped().items()}

    def count(self, steps: Mapping[str, float]) -> None:
        """Set the counts; a parameter without one loses its moments, as before its first step."""
        for name, parameter in self._stepped().items():
            if name in steps:
                self.optimizer.state[parameter]["step"].fill_(steps[name])
            else:
                del self.optimizer.state[parameter]

    def gradients(self) -> list[nn.Parameter]:
        """Parameters with a gradient."""
        return [p for p in self.parameters.values() if p.grad is not None]

    def norm(self) -> Tensor:
        """Every rank has the whole gradient already."""
        return get_total_norm([p.grad for p in self.gradients() if p.grad is not None])

    def clip(self, limit: float, norm: Tensor) -> None:
        """Scale in place."""
        clip_grads_with_norm_(self.gradients(), limit, norm)

    def drop(self) -> None:
        """Without gradients AdamW changes neither weights nor moments."""
        self.optimizer.zero_grad(set_to_none=True)


def _blank(parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's state before its first step, laid out as torch makes it."""
    if (blank := getattr(optimizer, "blank", None)) is not None:
        made: dict[str, Tensor] = blank(parameter)
        return made
    fused = bool(optimizer.param_groups[0].get("fused"))
    device = parameter.device if fused else None
    moments = {name: torch.zeros_like(parameter, memory_format=torch.preserve_format) for name in MOMENTS}
    return {"step": torch.zeros((), dtype=torch.float32, device=device), **moments}


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    """Persistent buffers by name."""
    found: dict[str, Tensor] = {}
    for prefix, part in module.named_modules():
        for name, buffer in part.named_buffers(recurse=False):
            if name not in part._non_persistent_buffers_set:
                found[f"{prefix}.{name}" if prefix else name] = buffer
    return found


def tied(module: nn.Module) -> dict[str, str]:
    """Second names of parameters that a module holds twice: {second: first}."""
    first: dict[int, str] = {}
    again: dict[str, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            again[name] = first[id(parameter)]
        else:
            first[id(parameter)] = name
    return again
