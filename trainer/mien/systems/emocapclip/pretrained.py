"""Published dual encoders as `mien.systems.encoder.Encoder`, when their weights are on disk."""

from __future__ import annotations

from pathlib import Path

import torch

from mien.errors import RunError
from mien.systems.emocapclip.config import (
    LocalConfig,
    MiningConfig,
    ModelConfig,
    ObjectiveConfig,
    open_clip_names,
)
from mien.systems.emocapclip.load import EmoCapEncoder
from mien.systems.emocapclip.model import EmoCapCLIP
from mien.systems.emocapclip.weights import read_state

_OPENAI = {
    (768, 3, 32, 32): "ViT-B-32-quickgelu",
    (768, 3, 16, 16): "ViT-B-16-quickgelu",
    (1024, 3, 14, 14): "ViT-L-14-quickgelu",
}
_FIX = "write clip, or open_clip: and the name of an open_clip config"


def load_pretrained(name: str, path: str | Path, device: torch.device | None = None) -> EmoCapEncoder:
    """A published model from a local file; nothing is downloaded and no code in the file is run.

    Args:
        name: `clip` (a state dict of OpenAI's ViT-B/32, B/16 or L/14 at 224 px with the key names of its
            repository; which of them is read from the patch size), or `open_clip:<config>`.
        path: safetensors, or torch weights of plain tensors.
        device: where to compute; None takes a GPU if there is one.

    Raises:
        RunError: for an unknown name, an absent or unsafe file, and keys or shapes of another model.
    """
    if name == "clip":
        tower = _openai_tower(Path(path))
    else:
        tower = name.removeprefix("open_clip:")
        if tower == name or tower not in open_clip_names():
            raise RunError(f"no published model called {name!r}", where=path, fix=_FIX)
    from open_clip import factory

    size = factory.get_model_config(tower)["vision_cfg"].get("image_size", 224)
    model = ModelConfig(tower=tower, weights=str(Path(path).absolute()), image_size=size)
    bare = ObjectiveConfig(local=LocalConfig(branch="none"), mining=MiningConfig(rule=None))
    return EmoCapEncoder(EmoCapCLIP(model, bare), size, patches=False, device=device)


def _openai_tower(path: Path) -> str:
    """The open_clip config of OpenAI's weights, by the shape of the patch embedding."""
    kernel = read_state(path).get("visual.conv1.weight")
    shape = None if kernel is None else tuple(kernel.shape)
    if shape not in _OPENAI:
        found = "no 'visual.conv1.weight'" if shape is None else f"'visual.conv1.weight' {[*shape]}"
        raise RunError(f"{found}: not a ViT of OpenAI's CLIP", where=path, fix=_FIX)
    return _OPENAI[shape]
