"""Towers of OpenAI's CLIP, filled from tensors under the names of its repository."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mien.errors import RunError
from mien.systems.emocapclip.config import LocalConfig, MiningConfig, ModelConfig, ObjectiveConfig
from mien.systems.emocapclip.exports.as_open_clip import open_clip_state
from mien.systems.emocapclip.load import EmoCapEncoder
from mien.systems.emocapclip.model import EmoCapCLIP
from mien.systems.weights import require_shapes

TOWERS = {
    (768, 3, 32, 32): "ViT-B-32-quickgelu",
    (768, 3, 16, 16): "ViT-B-16-quickgelu",
    (1024, 3, 14, 14): "ViT-L-14-quickgelu",
}
"""open_clip's config of a tower, by the shape of its patch embedding."""

KERNEL = "visual.conv1.weight"
"""The patch embedding [C, 3, patch, patch]."""

BARE = ObjectiveConfig(local=LocalConfig(branch="none"), mining=MiningConfig(rule=None))
"""An objective without parts of its own, for models at rest."""

_NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")
_FIX = "give the whole state dict of one model: both towers and the logit scale"


def tower_of(state: Mapping[str, Tensor], name: str, where: object, fix: str = _FIX) -> str:
    """The open_clip config of OpenAI's weights.

    Args:
        state: tensors by name.
        name: of the patch embedding among them.
        where: file, for the message.
        fix: what the user can do about another file.

    Raises:
        RunError: if the patch embedding is absent, or is not that of ViT-B/32, B/16 or L/14.
    """
    kernel = state.get(name)
    shape = None if kernel is None else tuple(kernel.shape)
    if shape not in TOWERS:
        found = f"no {name!r}" if shape is None else f"{name!r} {[*shape]}"
        raise RunError(f"{found}: not a ViT of OpenAI's CLIP", where=where, fix=fix)
    return TOWERS[shape]


def image_size(tower: str) -> int:
    """Side in pixels that an open_clip config takes."""
    from open_clip import factory

    side: int = factory.get_model_config(tower)["vision_cfg"].get("image_size", 224)
    return side


def empty(tower: str) -> EmoCapCLIP:
    """Towers of an open_clip config with random weights."""
    return EmoCapCLIP(ModelConfig(tower=tower, image_size=image_size(tower)), BARE)


def tensors(model: EmoCapCLIP) -> dict[str, Tensor]:
    """A model's tensors under OpenAI's names; they share its memory."""
    return {name.removeprefix("text."): tensor for name, tensor in open_clip_state(model).items()}


def shapes(model: EmoCapCLIP) -> dict[str, torch.Size]:
    """What a file of this model holds, by OpenAI's names."""
    return {name: tensor.shape for name, tensor in tensors(model).items()}


def weights_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A file's tensors without the three numbers that OpenAI's TorchScript archives hold beside weights.

    The logit scale comes as [] in any case, whether it was saved as [] or as [1].
    """
    own = {name: tensor for name, tensor in state.items() if name not in _NO_WEIGHTS}
    scale = own.get("logit_scale")
    if scale is not None and scale.numel() == 1:
        own["logit_scale"] = scale.reshape(())
    return own


def fill(model: EmoCapCLIP, state: Mapping[str, Tensor], where: object, fix: str = _FIX) -> None:
    """Copy a file into both towers and the logit scale; half precision becomes float32.

    Args:
        model: of the same tower.
        state: by OpenAI's names, as `weights_of` gives them.
        where: file, for the message.
        fix: what the user can do about a file that does not fit.

    Raises:
        RunError: naming the first tensor that is missing, unknown or of another shape.
    """
    own = tensors(model)
    require_shapes(shapes(model), state, where, fix)
    for name, tensor in own.items():
        tensor.copy_(state[name])


def encoder_of(state: Mapping[str, Tensor], where: Path, device: torch.device | None) -> EmoCapEncoder:
    """OpenAI's CLIP at rest, from its tensors.

    Raises:
        RunError: if they are not those of ViT-B/32, B/16 or L/14 at 224 px.
    """
    tower = tower_of(state, KERNEL, where)
    model = empty(tower)
    fill(model, weights_of(state), where)
    return EmoCapEncoder(model, image_size(tower), patches=False, device=device)
