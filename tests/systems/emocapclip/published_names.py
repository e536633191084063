"""Names and shapes of published files, written down from the public code; and a narrow CLIP to fill them."""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

import open_clip
import torch
from open_clip import factory
from test_towers import CLIP

Shapes = dict[str, tuple[int, ...]]


class Sizes(NamedTuple):
    """Of a CLIP: image width, patch, patches a side and layers; dimensions; text width and layers."""

    width: int
    patch: int
    grid: int
    layers: int
    embed: int
    text: int
    text_layers: int = 12


B32 = Sizes(768, 32, 7, 12, 512, 512)
B16 = Sizes(768, 16, 14, 12, 512, 512)
L14 = Sizes(1024, 14, 16, 24, 768, 768)
NARROW = Sizes(32, 8, 4, 2, 24, 16, 2)


def clip_shapes(s: Sizes) -> Shapes:
    """OpenAI's CLIP."""
    found: Shapes = {
        "positional_embedding": (77, s.text),
        "text_projection": (s.text, s.embed),
        "logit_scale": (),
        "visual.class_embedding": (s.width,),
        "visual.positional_embedding": (s.grid**2 + 1, s.width),
        "visual.proj": (s.width, s.embed),
        "visual.conv1.weight": (s.width, 3, s.patch, s.patch),
        "visual.ln_pre.weight": (s.width,),
        "visual.ln_pre.bias": (s.width,),
        "visual.ln_post.weight": (s.width,),
        "visual.ln_post.bias": (s.width,),
        "token_embedding.weight": (49408, s.text),
        "ln_final.weight": (s.text,),
        "ln_final.bias": (s.text,),
    }
    for side, width, layers in (("visual.", s.width, s.layers), ("", s.text, s.text_layers)):
        for layer in range(layers):
            block = f"{side}transformer.resblocks.{layer}."
            found |= {
                f"{block}attn.in_proj_weight": (3 * width, width),
                f"{block}attn.in_proj_bias": (3 * width,),
                f"{block}attn.out_proj.weight": (width, width),
                f"{block}attn.out_proj.bias": (width,),
                f"{block}ln_1.weight": (width,),
                f"{block}ln_1.bias": (width,),
                f"{block}mlp.c_fc.weight": (4 * width, width),
                f"{block}mlp.c_fc.bias": (4 * width,),
                f"{block}mlp.c_proj.weight": (width, 4 * width),
                f"{block}mlp.c_proj.bias": (width,),
                f"{block}ln_2.weight": (width,),
                f"{block}ln_2.bias": (width,),
            }
    return found


def temporal_shapes(embed: int = 512, inner: int = 16384, hidden: int = 512, depth: int = 2) -> Shapes:
    """EmoCLIP's transformer over frames; `inner` is 8 heads of 2,048."""
    found: Shapes = {"temporal.cls_token": (1, 1, embed), "temporal.pos_embedding": (1, 1024, embed)}
    for layer in range(depth):
        part = f"temporal.temporal_transformer.layers.{layer}."
        found |= {
            f"{part}0.fn.norm.weight": (embed,),
            f"{part}0.fn.norm.bias": (embed,),
            f"{part}0.fn.fn.to_qkv.weight": (3 * inner, embed),
            f"{part}0.fn.fn.to_out.0.weight": (embed, inner),
            f"{part}0.fn.fn.to_out.0.bias": (embed,),
            f"{part}1.fn.norm.weight": (embed,),
            f"{part}1.fn.norm.bias": (embed,),
            f"{part}1.fn.fn.net.0.weight": (hidden, embed),
            f"{part}1.fn.fn.net.0.bias": (hidden,),
            f"{part}1.fn.fn.net.3.weight": (embed, hidden),
            f"{part}1.fn.fn.net.3.bias": (embed,),
        }
    return found


def emoclip_shapes(sizes: Sizes = B32, **temporal: int) -> Shapes:
    """The whole EmoCLIP."""
    clip = {f"backbone.{name}": shape for name, shape in clip_shapes(sizes).items()}
    return clip | temporal_shapes(sizes.embed, **temporal) | {"logit_scale": ()}


def random_state(shapes: Shapes, seed: int = 0) -> dict[str, torch.Tensor]:
    """Small random tensors of these names and shapes."""
    torch.manual_seed(seed)
    return {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}


def narrow_clip(monkeypatch, openai):
    """open_clip's own narrow CLIP of two layers; from here on it stands for OpenAI's ViT-B/32."""
    monkeypatch.setattr(factory, "get_model_config", lambda name: deepcopy(CLIP))
    monkeypatch.setattr(openai, "TOWERS", {(32, 3, 8, 8): "ViT-B-32-quickgelu"})
    torch.manual_seed(0)
    return open_clip.create_model("ViT-B-32-quickgelu").eval()


def clip_pixels(images: torch.Tensor) -> torch.Tensor:
    """uint8 pictures to what OpenAI's CLIP was trained on."""
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    return (images / 255 - mean) / std
