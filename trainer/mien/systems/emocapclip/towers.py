"""Image and text towers: any open_clip config, or tiny ones that learn from scratch on a CPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mien.systems.emocapclip.config import ModelConfig, TinyConfig
from mien.systems.emocapclip.weights import load_open_clip

CONTEXT = 77
"""Tokens of a sentence, start and end included."""
VOCABULARY = 49_408
"""CLIP's byte-pair vocabulary; the end token is its highest number."""
_CHUNK, _ROWS = 192, 32


class Seen(NamedTuple):
    """What an image tower returns."""

    embedding: Tensor
    """[B, D], not normalised."""
    patches: Tensor
    """[B, P, C]: patch tokens before the post-norm, row by row."""


class OpenClipImage(nn.Module):
    """An open_clip image tower that also hands out its patch tokens."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, images: Tensor) -> Seen:
        """Normalised images [B, 3, S, S] to embeddings and patches."""
        out: Any = self.visual.forward_intermediates(images, indices=1)  # type: ignore[operator]
        return Seen(out["image_features"], out["image_intermediates"][-1].flatten(2).transpose(1, 2))

    def head(self) -> tuple[nn.Module | None, Tensor | None]:
        """Post-norm and projection [C, D] from the CLS token to the embedding, where the tower has them."""
        projection = getattr(self.visual, "proj", None)
        is_matrix = isinstance(projection, Tensor)
        return getattr(self.visual, "ln_post", None), projection if is_matrix else None


class StandardConv(nn.Conv2d):
    """A convolution whose kernels have mean 0 and norm `gain` (weight standardisation, arXiv 1903.10520).

    With per-image norms it learns as fast as batch norm does, whose statistics would make the result depend
    on the number of ranks; group norm alone did not leave chance level in the same 250 steps.
    """

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, size, stride, size // 2, bias=False)
        self.gain = nn.Parameter(torch.ones(outputs, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H / stride, W / stride]."""
        variance, mean = torch.var_mean(self.weight, (1, 2, 3), keepdim=True, correction=0)
        scale = self.gain * torch.rsqrt(variance * self.weight[0].numel() + 1e-4)
        return self._conv_forward(x, (self.weight - mean) * scale, None)


def _norm(channels: int) -> nn.GroupNorm:
    """Each channel of each image by itself: free of contrast and brightness, and of the batch."""
    return nn.GroupNorm(channels, channels)


class ResidualBlock(nn.Module):
    """Average pooling by `stride`, then two 3 x 3 convolutions with instance norms beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1, self.norm1 = StandardConv(inputs, outputs, 3), _norm(outputs)
        self.conv2, self.norm2 = StandardConv(outputs, outputs, 3), _norm(outputs)
        self.skip = nn.Identity() if inputs == outputs else StandardConv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H / stride, W / stride]."""
        if self.stride > 1:
            x = F.avg_pool2d(x, self.stride)
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.skip(x) + self.norm2(self.conv2(y)), inplace=True)


class TinyImage(nn.Module):
    """A four-stage residual network; its last map, an eighth of the image a side, is the patch grid."""

    def __init__(self, config: TinyConfig, checkpointing: bool = False) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        first = config.widths[0]
        self.stem = nn.Sequential(StandardConv(3, first, 3, stride=2), _norm(first), nn.ReLU(inplace=True))
        stages, before = [], first
        for width, blocks, stride in zip(config.widths, config.blocks, (1, 2, 2, 1), strict=True):
            for number in range(blocks):
                stages.append(ResidualBlock(before, width, stride if number == 0 else 1))
                before = width
        self.blocks = nn.ModuleList(stages)
        self.post_norm = nn.LayerNorm(before)
        self.projection = nn.Parameter(torch.randn(before, config.embed) * before**-0.5)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Seen:
        """Normalised images [B, 3, S, S] to embeddings [B, D] of the mean, patches [B, (S/8)^2, C]."""
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            recompute = self.checkpointing and self.training
            x = checkpoint(block, x, use_reentrant=False) if recompute else block(x)
        patches = x.flatten(2).transpose(1, 2)
        return Seen(self.post_norm(patches.mean(1)) @ self.projection, patches)

    def head(self) -> tuple[nn.Module | None, Tensor | None]:
        """Post-norm and projection [C, D] of the embedding."""
        return self.post_norm, self.projection


class TextTower(nn.Module):
    """An open_clip text tower over sentences of any number, each encoded once and no longer than it is.

    Causal towers that pool at the end token never look beyond it, so cropping the padding is exact.

    Args:
        text: the tower.
        buckets: `ModelConfig.text_buckets`.
    """

    def __init__(self, text: nn.Module, buckets: tuple[int, ...] = ()) -> None:
        super().__init__()
        from open_clip.transformer import TextTransformer

        self.text = text
        self.buckets = buckets
        self.croppable = (
            isinstance(text, TextTransformer)
            and text.attn_mask is not None
            and text.cls_emb is None
            and text.pool_type in ("argmax", "eos")
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens int [T, 77] with end tokens, to embeddings [T, D], not normalised."""
        if not self.croppable or not len(tokens):
            return self.text(tokens)
        distinct, inverse = torch.unique(tokens, dim=0, return_inverse=True)
        lengths = distinct.argmax(1) + 1
        order = lengths.argsort(stable=True)
        distinct, lengths = distinct[order], lengths[order]
        if self.buckets:  # repeat the last row: nobody asks for its copies
            rows = torch.arange(-(-len(distinct) // _ROWS) * _ROWS, device=tokens.device)
            rows = rows.clamp(max=len(distinct) - 1)
            distinct, lengths = distinct[rows], lengths[rows]
        text: Any = self.text
        embedded = text.token_embedding(distinct[:, : self._width(int(lengths[-1]))])
        encoded = []
        for start in range(
            0, len(distinct), _CHUNK
        ):  # neighbours are of like length: little padding is computed
            chunk = slice(start, start + _CHUNK)
            width = self._width(int(lengths[chunk][-1]))
            encoded.append(self._encode(embedded[chunk, :width], lengths[chunk] - 1))
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        return torch.cat(encoded)[place[inverse]]

    def _width(self, longest: int) -> int:
        """Tokens to compute for sentences of at most `longest`."""
        if not self.buckets:
            return longest
        return next((bucket for bucket in self.buckets if bucket >= longest), CONTEXT)

    def _encode(self, x: Tensor, ends: Tensor) -> Tensor:
        """Embedded tokens [T, L, C] and the place of their end tokens to [T, D]."""
        text: Any = self.text
        length = x.shape[1]
        x = x + text.positional_embedding[:length].to(x.dtype)
        x = text.transformer(x, attn_mask=text.attn_mask[:length, :length])
        pooled = text.ln_final(x[torch.arange(len(x), device=x.device), ends])
        if text.text_projection is None:
            return pooled
        if isinstance(text.text_projection, nn.Linear):
            return text.text_projection(pooled)
        return pooled @ text.text_projection


class Towers(NamedTuple):
    """Both towers and what a checkpoint says beside them."""

    image: OpenClipImage | TinyImage
    text: TextTower
    log_scale: Tensor | None
    """theta of the starting weights, None for towers that start from scratch."""
    mean: tuple[float, ...]
    std: tuple[float, ...]


def build_towers(config: ModelConfig) -> Towers:
    """Make the towers of a recipe; reads `config.weights`, not `config.init_from`.

    Raises:
        RunError: if the weights are absent, unsafe to read or do not fit the tower.
    """
    if config.tower == "tiny":
        return _tiny(config)
    clip, log_scale = load_open_clip(config.tower, config.weights, config.image_size)
    if config.checkpointing:
        clip.set_grad_checkpointing(True)
    image, text = OpenClipImage(clip.visual), TextTower(clip.text, config.text_buckets)
    from open_clip.transform import PreprocessCfg

    preprocess: Any = getattr(clip.visual, "preprocess_cfg", None) or {}
    defaults = PreprocessCfg()
    mean, std = preprocess.get("mean", defaults.mean), preprocess.get("std", defaults.std)
    return Towers(image, text, log_scale, tuple(mean), tuple(std))


def _tiny(config: ModelConfig) -> Towers:
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
    from open_clip.transformer import TextTransformer

    tiny = config.tiny
    text = TextTransformer(
        CONTEXT, VOCABULARY, tiny.text_width, tiny.text_heads, tiny.text_layers, output_dim=tiny.embed
    )
    table = nn.Embedding(VOCABULARY, tiny.vocabulary_width)
    nn.init.normal_(table.weight, std=0.02)
    widen = nn.Linear(tiny.vocabulary_width, tiny.text_width, bias=False)
    text.token_embedding = nn.Sequential(table, widen)
    text.set_grad_checkpointing(config.checkpointing)
    image = TinyImage(tiny, config.checkpointing)
    text_tower = TextTower(text, config.text_buckets)
    return Towers(image, text_tower, None, OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
