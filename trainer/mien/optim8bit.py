"""AdamW whose moments take eight bits an element (Dettmers et al., 2022), by torchao.

Moments of 4,096 elements or more, in a multiple of 256, are kept as codes with a scale for each 256 of them;
smaller ones stay float32. Imported only where a recipe asks for it: torchao is an optional package.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torchao.optim import AdamW8bit as Quantised
from torchao.optim.subclass_8bit import OptimState8bit

from mien.engine.holdings import MOMENTS


class AdamW8bit(Quantised):
    """torchao's, which on a CPU computes without compiling: each shape would take it half a minute."""

    def step(self, closure: Any = None) -> Any:
        """One step; a parameter without a gradient keeps its weights and moments."""
        on_cpu = all(p.device.type == "cpu" for group in self.param_groups for p in group["params"])
        with torch.compiler.set_stance("force_eager") if on_cpu else contextlib.nullcontext():
            return super().step(closure)

    def blank(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """The state of a parameter before its first step."""
        signed = dict(zip(MOMENTS, (True, False), strict=True))
        moments = {name: self._new_buffer(parameter, sign) for name, sign in signed.items()}
        return {"step": torch.tensor(0.0), **moments}

    @staticmethod
    def parts(moment: Tensor) -> dict[str, Tensor]:
        """The plain tensors that a moment consists of, by ending of its name; live."""
        if isinstance(moment, OptimState8bit):
            return {"_codes": moment.codes, "_scale": moment.scale}
        return {"": moment}
