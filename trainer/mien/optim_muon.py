"""Muon: momentum whose matrices are made nearly orthogonal (Jordan et al., 2024), AdamW for the rest.

All directions of a matrix move at the same rate, also those whose gradients are small. Updates are scaled as
Liu et al. (arXiv 2502.16982, 2.2) do, so that rate and decay mean about what they mean for AdamW. Kernels of
convolutions are matrices of [outputs, inputs * height * width].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
_ROUNDS = 5
_QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan's: steep at zero, so that five rounds bring 0.003 to about 0.7


class Muon(torch.optim.Optimizer):
    """Steps groups with `orthogonal` by Muon with Nesterov momentum, the others by AdamW.

    Args:
        groups: of parameters; those of `orthogonal` groups have two dimensions or more.
        lr: peak rate of groups without their own.
        betas: of AdamW.
        eps: of AdamW.
    """

    def __init__(
        self, groups: Iterable[Mapping[str, Any]], lr: float, betas: tuple[float, float], eps: float
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0, "orthogonal": False}
        super().__init__([dict(group) for group in groups], defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; a parameter without a gradient keeps its weights and moments."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state.update(self.blank(parameter))
                state["step"] += 1
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                update = _turned if group["orthogonal"] else _adam
                parameter.add_(update(parameter.grad, state, group), alpha=-group["lr"])
        return loss

    def blank(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """The state of a parameter before its first step."""
        matrix = any(parameter is one for g in self.param_groups if g["orthogonal"] for one in g["params"])
        names = ("exp_avg",) if matrix else ("exp_avg", "exp_avg_sq")
        moments = {name: torch.zeros_like(parameter, memory_format=torch.preserve_format) for name in names}
        return {"step": torch.zeros(()), **moments}


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly the orthogonal matrix next to it, [M, N]: singular values about 0.7 to 1.2 (Newton, Schulz)."""
    first, third, fifth = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.float().T if tall else matrix.float()
    x = x / x.norm().clamp_min(1e-20)
    if x.shape[1] >= 2 * x.shape[0]:
        x = _product(x @ x.T) @ x
    else:
        for _ in range(_ROUNDS):
            square = x @ x.T
            x = first * x + (third * square + fifth * square @ square) @ x
    return x.T if tall else x


def _product(square: Tensor) -> Tensor:
    """What the rounds multiply x by, of x x^T alone, [M, M]: cheaper where x is much wider than high.

    A round makes p x of x, p a polynomial of x x^T, and so p (x x^T) p of x x^T.
    """
    first, third, fifth = _QUINTIC
    whole = torch.eye(len(square), dtype=square.dtype, device=square.device)
    for _ in range(_ROUNDS):
        factor = torch.addmm(square, square, square, beta=third, alpha=fifth)
        factor.diagonal().add_(first)
        whole = factor @ whole
        square = factor @ square @ factor
    return whole


def _turned(gradient: Tensor, state: dict[str, Tensor], group: Mapping[str, Any]) -> Tensor:
    average = state["exp_avg"].lerp_(gradient, 1 - MOMENTUM)
    ahead = gradient.lerp(average, MOMENTUM).flatten(1)
    # An orthogonal matrix has a root mean square of one over the root of its longer side; AdamW of about 0.2.
    scale = 0.2 * max(ahead.shape) ** 0.5
    return (scale * orthogonal(ahead)).view_as(gradient).to(gradient.dtype)


def _adam(gradient: Tensor, state: dict[str, Tensor], group: Mapping[str, Any]) -> Tensor:
    first, second = group["betas"]
    count = float(state["step"])
    average = state["exp_avg"].lerp_(gradient, 1 - first)
    square = state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
    root = (square / (1 - second**count)).sqrt_().add_(group["eps"])
    return average / (1 - first**count) / root
