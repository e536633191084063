"""What ZeRO leaves on a rank: a stretch of all parameters laid end to end (1, 2), or of each of them (3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from deepspeed.runtime.utils import combine_grad_norm_groups, is_invalid_grad_norm
from torch import Tensor, nn

from mien.engine.holdings import MOMENTS, Holdings
from mien.engine.pieces import Piece


class Stages12(Holdings):
    """Float32 masters of a stretch of each parameter; every rank also has all weights, to compute with.

    Args:
        module: the LightningModule.
        optimizer: `DeepSpeedZeroOptimizer`.
        rank: this process.
    """

    def __init__(self, module: nn.Module, optimizer: Any, rank: int) -> None:
        super().__init__(module, optimizer)
        self.rank = rank
        self._dropped = False
        self._let_us_decide()

    def _let_us_decide(self) -> None:
        """DeepSpeed asks itself whether a gradient overflows; here the guard of the run has the word."""
        self.optimizer.check_grad_overflow = True
        self.optimizer.has_overflow = lambda partition_gradients=True: self._dropped

    # --- weights

    def piece(self, parameter: nn.Parameter) -> Piece | None:
        """The master's stretch; a frozen parameter is whole."""
        if not parameter.requires_grad:
            return Piece.whole(parameter.data)
        mapping = parameter._hp_mapping  # type: ignore[attr-defined]
        if mapping is None:
            return None
        return Piece(mapping.hp_fragment.data, mapping.lp_fragment_address.start, tuple(parameter.shape))

    @torch.no_grad()
    def refresh(self) -> None:
        """Every rank gives its stretches; their sum is the weights."""
        for parameter in self.parameters.values():
            if parameter.requires_grad:
                whole = torch.zeros(parameter.numel(), dtype=parameter.dtype, device=parameter.device)
                piece = self.piece(parameter)
                if piece is not None:
                    whole[piece.start : piece.start + piece.tensor.numel()] = piece.tensor.to(whole.device)
                dist.all_reduce(whole)
                parameter.data.copy_(whole.view(parameter.shape))

    # --- the optimiser

    def _flat(self, parameter: nn.Parameter) -> tuple[Tensor, int, int]:
        """The master that holds a parameter's stretch, and where in it: first element and number."""
        mapping = parameter._hp_mapping  # type: ignore[attr-defined]
        address = mapping.get_hp_fragment_address()
        flat = self.optimizer.single_partition_of_fp32_groups[mapping.param_group_index]
        return flat, address.start, address.numel

    def moments(self, *, make: bool = False) -> dict[str, dict[str, Piece]]:
        """The same stretches of the moments, which lie end to end too."""
        found: dict[str, dict[str, Piece]] = {moment: {} for moment in MOMENTS}
        states = self.optimizer.optimizer.state
        for name, piece in self.trainable().items():
            flat, first, length = self._flat(self.parameters[name])
            if make and not states[flat]:
                states[flat] = _blank(flat, self.optimizer.optimizer)
            if states.get(flat):
                for moment in MOMENTS:
                    found[moment][name] = piece.like(states[flat][moment].narrow(0, first, length))
        return found

    def steps(self) -> dict[str, float]:
        """One count for all parameters that lie in the same master."""
        states = self.optimizer.optimizer.state
        flats = {name: self._flat(self.parameters[name])[0] for name in self.trainable()}
        return {name: float(states[flat]["step"]) for name, flat in flats.items() if states.get(flat)}

    def count(self, steps: Mapping[str, float]) -> None:
        """The highest of its parameters is the count of a master."""
        states = self.optimizer.optimizer.state
        for name in self.trainable():
            step = states[self._flat(self.parameters[name])[0]]["step"]
            step.fill_(max(float(step), steps.get(name, 0.0)))

    # --- gradients

    def norm(self) -> Tensor:
        """DeepSpeed's own norm over all ranks."""
        self._dropped = False
        norm = self._norm()
        return torch.full_like(norm, torch.nan) if is_invalid_grad_norm(norm) else norm

    def _norm(self) -> Tensor:
        return torch.as_tensor(self.optimizer.scaled_global_norm())

    def clip(self, limit: float, norm: Tensor) -> None:
        """DeepSpeed clips inside its step."""

    def drop(self) -> None:
        """Answer yes when DeepSpeed asks whether the gradient overflows: it then skips its step."""
        self._dropped = True


class Stage3(Stages12):
    """A stretch of each parameter, gathered while it computes.

    Its optimiser is `DeepSpeedZeroOptimizer_Stage3`.
    """

    def _let_us_decide(self) -> None:
        norms = self.optimizer._get_norm_groups
        self._norms = norms
        # Stage 3 skips a step whose norm is not valid, which is what -1 stands for.
        self.optimizer._get_norm_groups = lambda: [torch.tensor(-1.0)] if self._dropped else norms()

    def piece(self, parameter: nn.Parameter) -> Piece | None:
        """This rank's stretch; ranks get equal ones, of which the last may be padded."""
        own: Tensor = parameter.ds_tensor  # type: ignore[attr-defined]
        start = self.rank * own.numel()
        length = min(own.numel(), max(0, parameter.ds_numel - start))  # type: ignore[attr-defined]
        if not length:
            return None
        if parameter.requires_grad:
            flat, first, _ = self._flat(parameter)
            tensor = flat.data.narrow(0, first, length)
        else:
            tensor = own.data.view(-1).narrow(0, 0, length)
        return Piece(tensor, start, tuple(parameter.ds_shape))  # type: ignore[attr-defined]

    def _flat(self, parameter: nn.Parameter) -> tuple[Tensor, int, int]:
        zero = self.optimizer
        group, first, padded = zero.grad_position[zero.get_param_id(parameter)]
        start = self.rank * padded
        length = min(padded, max(0, parameter.ds_numel - start))  # type: ignore[attr-defined]
        return zero.fp32_partitioned_groups_flat[group], first, length

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy masters into the stretches that are gathered, and gather again what stays gathered."""
        zero = self.optimizer
        zero._partition_all_parameters()
        for parameter in self.parameters.values():
            piece = self.piece(parameter)
            if piece is not None and parameter.requires_grad:
                own: Tensor = parameter.ds_tensor  # type: ignore[attr-defined]
                own.data.view(-1)[: piece.tensor.numel()].copy_(piece.tensor)
        if zero.persistent_parameters:
            zero.persistent_parameters[0].all_gather(zero.persistent_parameters)

    def _norm(self) -> Tensor:
        return torch.as_tensor(combine_grad_norm_groups(self._norms()))


def _blank(flat: Tensor, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    fused = bool(optimizer.param_groups[0].get("fused"))
    step = torch.zeros((), dtype=torch.float32, device=flat.device if fused else None)
    return {"step": step, **{moment: torch.zeros_like(flat) for moment in MOMENTS}}
