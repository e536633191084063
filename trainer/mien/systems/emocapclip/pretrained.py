"""Published dual encoders as `mien.systems.encoder.Encoder`, when their weights are on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
from mien.systems.emocapclip.weights import load_strictly, read_state

_OPENAI = {
    (768, 3, 32, 32): "ViT-B-32-quickgelu",
    (768, 3, 16, 16): "ViT-B-16-quickgelu",
    (1024, 3, 14, 14): "ViT-L-14-quickgelu",
}
_FIX = "write clip, flip, farl, or open_clip: and the name of an open_clip config"


def load_pretrained(name: str, path: str | Path, device: torch.device | None = None) -> EmoCapEncoder:
    """A published model from a local file; nothing is downloaded and no code in the file is run.

    Args:
        name: `clip` (a state dict of OpenAI's ViT-B/32, B/16 or L/14 at 224 px with the key names of its
            repository; which of them is read from the patch size), `flip` (FLIP-80M, in the layout of
            transformers' `CLIPModel`, as its repository stores it), `farl` (FaRL: OpenAI's names; parts of
            masked image modelling are left out), or `open_clip:<config>`.
        path: safetensors, or torch weights of plain tensors.
        device: where to compute; None takes a GPU if there is one.

    Raises:
        RunError: for an unknown name, an absent or unsafe file, and keys or shapes of another model.
    """
    if name in ("flip", "farl"):
        return _converted(name, Path(path), device)
    if name == "clip":
        tower = _openai_tower(read_state(Path(path)), "visual.conv1.weight", Path(path))
    else:
        tower = name.removeprefix("open_clip:")
        if tower == name or tower not in open_clip_names():
            raise RunError(f"no published model called {name!r}", where=path, fix=_FIX)
    from open_clip import factory

    size = factory.get_model_config(tower)["vision_cfg"].get("image_size", 224)
    model = ModelConfig(tower=tower, weights=str(Path(path).absolute()), image_size=size)
    bare = ObjectiveConfig(local=LocalConfig(branch="none"), mining=MiningConfig(rule=None))
    return EmoCapEncoder(EmoCapCLIP(model, bare), size, patches=False, device=device)


def _converted(name: str, path: Path, device: torch.device | None) -> EmoCapEncoder:
    """FLIP or FaRL: tensors under other names, put into OpenAI's towers."""
    from open_clip import factory

    from mien.systems.emocapclip.exports.as_open_clip import open_clip_state
    from mien.systems.emocapclip.exports.as_transformers import from_clip_state

    state = read_state(path)
    kernel = "vision_model.embeddings.patch_embedding.weight" if name == "flip" else "visual.conv1.weight"
    tower = _openai_tower(state, kernel, path)
    size = factory.get_model_config(tower)["vision_cfg"].get("image_size", 224)
    bare = ObjectiveConfig(local=LocalConfig(branch="none"), mining=MiningConfig(rule=None))
    model = EmoCapCLIP(ModelConfig(tower=tower, image_size=size), bare)
    names = open_clip_state(EmoCapEncoder(model, size, patches=False, device=torch.device("cpu")))
    if name == "flip":
        found = from_clip_state(state, names)
    else:
        found = {own: state[theirs] for own in names if (theirs := own.removeprefix("text.")) in state}
    _fill(model, found, path)
    return EmoCapEncoder(model, size, patches=False, device=device)


def _fill(model: EmoCapCLIP, state: dict[str, Tensor], where: Path) -> None:
    """Load `visual.*`, `text.*` and `logit_scale`; every tensor of the towers must be there."""
    towers: tuple[Any, ...] = (model.image, model.text)
    for prefix, part in (("visual.", towers[0].visual), ("text.", towers[1].text)):
        own = {name.removeprefix(prefix): t.float() for name, t in state.items() if name.startswith(prefix)}
        load_strictly(part, own, where)
    if "logit_scale" not in state:
        raise RunError("no 'logit_scale'", where=where, fix="give the whole model, both towers and the scale")
    with torch.no_grad():
        model.log_scale.copy_(state["logit_scale"].float().reshape(1))


def _openai_tower(state: dict[str, Tensor], name: str, path: Path) -> str:
    """The open_clip config of OpenAI's weights, by the shape of the patch embedding."""
    kernel = state.get(name)
    shape = None if kernel is None else tuple(kernel.shape)
    if shape not in _OPENAI:
        found = f"no {name!r}" if shape is None else f"{name!r} {[*shape]}"
        raise RunError(f"{found}: not a ViT of OpenAI's CLIP", where=path, fix=_FIX)
    return _OPENAI[shape]
