"""EmoCLIP's transformer over the frames of a clip (arXiv 2310.16640), and the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEADS = 8
"""Attention heads: a constant of the public code, no tensor tells it."""

PREFIX = "temporal."
"""Of its tensors in a file of the whole model."""

_LAYER = re.compile(r"temporal\.temporal_transformer\.layers\.(\d+)\.")
_INNER, _HIDDEN, _POSITIONS, _DEPTH = 8 * 2048, 512, 1024, 2  # published; for a file that lacks the tensor
_NAMES = {
    "attention_norm": "0.fn.norm",
    "qkv": "0.fn.fn.to_qkv",
    "out": "0.fn.fn.to_out.0",
    "hidden_norm": "1.fn.norm",
    "widen": "1.fn.fn.net.0",
    "narrow": "1.fn.fn.net.3",
}


class TemporalLayer(nn.Module):
    """Pre-norm attention without bias of query, key and value, then two linear layers with tanh GELU.

    Args:
        width: D.
        inner: of all heads together. Published: 8 x 2048, although D is 512.
        hidden: between the two linear layers. Published: 512.
    """

    def __init__(self, width: int, inner: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm, self.hidden_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * inner, bias=False), nn.Linear(inner, width)
        self.widen, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to the same shape."""
        parts = self.qkv(self.attention_norm(x)).unflatten(-1, (3, HEADS, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.narrow(F.gelu(self.widen(self.hidden_norm(x)), approximate="tanh"))


class TemporalTransformer(nn.Module):
    """A learned token before the frames, learned positions, layers; the token's place is the clip.

    Args:
        width: D.
        inner: of all heads together.
        hidden: of the linear layers.
        depth: layers. Published: 2.
        positions: frames and the token, at most. Published: 1024.
    """

    def __init__(self, width: int, inner: int, hidden: int, depth: int, positions: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embedding = nn.Parameter(torch.zeros(1, positions, width))
        self.layers = nn.ModuleList(TemporalLayer(width, inner, hidden) for _ in range(depth))

    @property
    def most(self) -> int:
        """Frames that a clip may have."""
        return self.pos_embedding.shape[1] - 1

    def forward(self, frames: Tensor) -> Tensor:
        """Embeddings of frames [B, T, D], T <= `most`, to those of clips [B, D], not normalised."""
        x = torch.cat([self.cls_token.expand(len(frames), -1, -1), frames], 1)
        x = x + self.pos_embedding[:, : x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return x[:, 0]


def sized_for(state: Mapping[str, Tensor], width: int) -> TemporalTransformer:
    """A transformer of D = `width`, otherwise as large as a file's tensors, not yet filled.

    What the file lacks gets the published size, so that comparing with `tensors` names it.
    """
    layer = f"{PREFIX}temporal_transformer.layers.0."
    rows = _size(state, f"{layer}{_NAMES['qkv']}.weight", 0, 3 * _INNER)
    return TemporalTransformer(
        width,
        inner=rows // (3 * HEADS) * HEADS,
        hidden=_size(state, f"{layer}{_NAMES['widen']}.weight", 0, _HIDDEN),
        depth=len({match[1] for name in state if (match := _LAYER.match(name))}) or _DEPTH,
        positions=_size(state, f"{PREFIX}pos_embedding", 1, _POSITIONS),
    )


def tensors(model: TemporalTransformer) -> dict[str, Tensor]:
    """Its tensors under the published names; they share its memory."""
    return {PREFIX + _published(name): tensor for name, tensor in model.state_dict().items()}


def _published(name: str) -> str:
    """`layers.0.qkv.weight` to `temporal_transformer.layers.0.0.fn.fn.to_qkv.weight`; others stay."""
    parts = name.split(".")
    if parts[0] != "layers":
        return name
    return f"temporal_transformer.layers.{parts[1]}.{_NAMES[parts[2]]}.{parts[3]}"


def _size(state: Mapping[str, Tensor], name: str, axis: int, otherwise: int) -> int:
    tensor = state.get(name)
    return otherwise if tensor is None or tensor.ndim <= axis else tensor.shape[axis]
