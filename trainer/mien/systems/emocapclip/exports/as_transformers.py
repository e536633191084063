"""A Hugging Face `CLIPModel` folder: weights under other names, with the fused projection split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.errors import RunError
from mien.systems.emocapclip.config import ModelConfig
from mien.systems.emocapclip.exports.as_open_clip import open_clip_state, preprocessing
from mien.systems.emocapclip.exports.parity import require, require_same
from mien.systems.emocapclip.exports.tokenizer_files import END, START, write_tokenizer
from mien.systems.emocapclip.load import EmoCapEncoder
from mien.systems.emocapclip.tokens import CONTEXT

_FIX = "export it --to open_clip, --to onnx or --to safetensors"
_LAYER = re.compile(r"(?:visual|text)\.transformer\.resblocks\.(\d+)\.(.+)")
_PARTS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_NAMES = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",  # sic: the library's own spelling
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "text.token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "text.positional_embedding": "text_model.embeddings.position_embedding.weight",
    "text.ln_final.weight": "text_model.final_layer_norm.weight",
    "text.ln_final.bias": "text_model.final_layer_norm.bias",
    "text.text_projection.weight": "text_projection.weight",
    "logit_scale": "logit_scale",
}
_TRANSPOSED = {"visual.proj": "visual_projection.weight", "text.text_projection": "text_projection.weight"}


def write_transformers(encoder: EmoCapEncoder, model: ModelConfig, folder: Path) -> dict[str, Any]:
    """Write config, weights, tokenizer and image processor of a `CLIPModel`; nothing is downloaded.

    Args:
        encoder: with a plain open_clip ViT, on the CPU.
        model: its section of the recipe.
        folder: empty, exists.

    Raises:
        RunError: if the tower has parts that `CLIPModel` has not, or transformers is absent.
    """
    require("transformers")
    from transformers import CLIPConfig, CLIPModel

    _require_plain(encoder, model.tower)
    weights = clip_state(open_clip_state(encoder.model), model.tower)
    clip = CLIPModel(CLIPConfig(**clip_config(encoder)))
    absent, unknown = clip.load_state_dict(weights, strict=False)
    if unknown:
        raise _unsupported(model.tower, unknown[0])
    if absent:
        what = f"{model.tower} lacks `{absent[0]}`, which CLIPModel has"
        raise RunError(what, where="--to transformers", fix=_FIX)
    clip.save_pretrained(folder)
    write_tokenizer(folder)
    _write_processor(encoder, folder)
    return {
        "loads": f'transformers.CLIPModel.from_pretrained("{folder.name}")',
        "tower": model.tower,
        "max_difference": _check(encoder, folder),
    }


def clip_state(state: dict[str, Tensor], tower: str) -> dict[str, Tensor]:
    """open_clip's tensors under the names of `CLIPModel`.

    A layer's `in_proj` [3 C, C] holds query, key and value one below the other; projections to the embedding
    [C, D] become `nn.Linear` weights [D, C].

    Raises:
        RunError: for a tensor that `CLIPModel` has no place for.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        layer = _LAYER.fullmatch(name)
        if name in _NAMES:
            found[_NAMES[name]] = tensor
        elif name in _TRANSPOSED:
            found[_TRANSPOSED[name]] = tensor.T.contiguous()
        elif layer is not None:
            side = "vision_model" if name.startswith("visual") else "text_model"
            found |= _layer(f"{side}.encoder.layers.{layer[1]}", layer[2], tensor, tower)
        else:
            raise _unsupported(tower, name)
    return found


def from_clip_state(state: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """The way back: tensors of a `CLIPModel` under open_clip's names; those that are absent are left out.

    Args:
        state: by `CLIPModel`'s names.
        names: open_clip's, as `open_clip_state` gives them.
    """
    found: dict[str, Tensor] = {}
    for name in names:
        layer = _LAYER.fullmatch(name)
        if layer is None:
            theirs = _NAMES.get(name) or _TRANSPOSED.get(name, "")
            if theirs in state:
                found[name] = state[theirs].T.contiguous() if name in _TRANSPOSED else state[theirs]
            continue
        side = "vision_model" if name.startswith("visual") else "text_model"
        prefix = f"{side}.encoder.layers.{layer[1]}"
        stem, _, kind = layer[2].rpartition(".")
        if stem in _PARTS:
            parts = [f"{prefix}.{_PARTS[stem]}.{kind}"]
        else:
            kind = layer[2].rpartition("_")[2]
            parts = [f"{prefix}.self_attn.{one}_proj.{kind}" for one in "qkv"]
        if all(part in state for part in parts):
            found[name] = torch.cat([state[part] for part in parts])
    return found


def _layer(prefix: str, part: str, tensor: Tensor, tower: str) -> dict[str, Tensor]:
    if part in ("attn.in_proj_weight", "attn.in_proj_bias"):
        kind = part.rpartition("_")[2]
        thirds = tensor.chunk(3)
        return {f"{prefix}.self_attn.{n}_proj.{kind}": t.clone() for n, t in zip("qkv", thirds)}
    stem, _, kind = part.rpartition(".")
    if stem not in _PARTS:
        raise _unsupported(tower, part)
    return {f"{prefix}.{_PARTS[stem]}.{kind}": tensor}


def clip_config(encoder: EmoCapEncoder) -> dict[str, Any]:
    """Arguments of `CLIPConfig`, read from the modules themselves: widths, heads, activation, epsilon."""
    visual: Any = encoder.model.image.visual
    text: Any = encoder.model.text.text
    embed = visual.proj.shape[1]
    vision_side = _side(visual, visual.ln_post) | {
        "image_size": encoder.image_size,
        "patch_size": visual.conv1.kernel_size[0],
    }
    text_side = _side(text, text.ln_final) | {
        "vocab_size": text.token_embedding.num_embeddings,
        "max_position_embeddings": text.positional_embedding.shape[0],
        "bos_token_id": START,
        "eos_token_id": END,
        "pad_token_id": END,
    }
    return {
        "projection_dim": embed,
        "logit_scale_init_value": float(encoder.model.log_scale),
        "vision_config": vision_side | {"projection_dim": embed},
        "text_config": text_side | {"projection_dim": embed},
    }


def _side(tower: Any, norm: Any) -> dict[str, Any]:
    blocks = tower.transformer.resblocks
    first = blocks[0]
    return {
        "hidden_size": first.attn.embed_dim,
        "num_hidden_layers": len(blocks),
        "num_attention_heads": first.attn.num_heads,
        "intermediate_size": first.mlp.c_fc.out_features,
        "hidden_act": _activation(first.mlp.gelu),
        "layer_norm_eps": norm.eps,
    }


def _activation(layer: nn.Module) -> str:
    from open_clip.transformer import QuickGELU

    if isinstance(layer, QuickGELU):
        return "quick_gelu"
    return "gelu_pytorch_tanh" if getattr(layer, "approximate", "none") == "tanh" else "gelu"


def _require_plain(encoder: EmoCapEncoder, tower: str) -> None:
    from open_clip.transformer import TextTransformer, VisionTransformer

    image, text = encoder.model.image, encoder.model.text.text
    visual = getattr(image, "visual", None)
    if type(visual) is not VisionTransformer:
        raise _unsupported(tower, type(visual).__name__)
    if type(text) is not TextTransformer or text.text_projection is None:
        raise _unsupported(tower, type(text).__name__)
    sides: tuple[Any, ...] = (visual, text)
    for side in sides:
        attention = side.transformer.resblocks[0].attn
        if not isinstance(attention, nn.MultiheadAttention):
            raise _unsupported(tower, type(attention).__name__)


def _unsupported(tower: str, part: str) -> RunError:
    return RunError(f"{tower} has `{part}`, which CLIPModel has not", where="--to transformers", fix=_FIX)


def _write_processor(encoder: EmoCapEncoder, folder: Path) -> None:
    from transformers import CLIPImageProcessor

    facts = preprocessing(encoder)
    side = {"height": encoder.image_size, "width": encoder.image_size}
    CLIPImageProcessor(
        do_resize=True,
        size=side,
        resample=2,  # bilinear, as in training
        do_center_crop=False,
        crop_size=side,
        image_mean=facts["mean"],
        image_std=facts["std"],
    ).save_pretrained(folder)


def _check(encoder: EmoCapEncoder, folder: Path) -> float:
    from transformers import CLIPModel, CLIPTokenizer

    clip: Any = CLIPModel.from_pretrained(folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    blank = torch.zeros(1, 3, encoder.image_size, encoder.image_size)

    def texts_of(texts: list[str]) -> Tensor:
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=CONTEXT, return_tensors="pt")
        return clip(**tokens, pixel_values=blank).text_embeds

    def images_of(images: Tensor) -> Tensor:
        return clip(**tokenizer(["a"], return_tensors="pt"), pixel_values=images).image_embeds

    return require_same(encoder, images_of, texts_of, "transformers")
