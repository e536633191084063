"""Published dual encoders as `mien.systems.encoder.Encoder`, when their weights are on disk."""

from __future__ import annotations

from pathlib import Path

import torch

from mien.errors import RunError
from mien.systems.emocapclip.baselines import openai
from mien.systems.emocapclip.baselines.emoclip import load_emoclip
from mien.systems.emocapclip.baselines.expclip import files, load_expclip
from mien.systems.emocapclip.config import ModelConfig, open_clip_names
from mien.systems.emocapclip.load import EmoCapEncoder
from mien.systems.emocapclip.model import EmoCapCLIP
from mien.systems.weights import read_state

_FIX = "write clip, flip, farl, expclip, emoclip, or open_clip: and the name of an open_clip config"


def load_pretrained(name: str, path: str | Path, device: torch.device | None = None) -> EmoCapEncoder:
    """A published model from local files; nothing is downloaded and no code in a file is run.

    Args:
        name: `clip` (a state dict of OpenAI's ViT-B/32, B/16 or L/14 at 224 px with the key names of its
            repository; which of them is read from the patch size), `flip` (FLIP-80M, in the layout of
            transformers' `CLIPModel`, as its repository stores it), `farl` (FaRL: OpenAI's names; parts of
            masked image modelling are left out), `expclip` (Exp-CLIP: its head and the CLIP below it),
            `emoclip` (EmoCLIP, whose encoder also has `encode_clip`), or `open_clip:<config>`.
        path: safetensors, or torch weights of plain tensors; for `expclip` as in `weight_files`.
        device: where to compute; None takes a GPU if there is one.

    Raises:
        RunError: for an unknown name, an absent or unsafe file, and keys or shapes of another model.
    """
    if name == "expclip":
        return load_expclip(str(path), device)
    if name == "emoclip":
        return load_emoclip(Path(path), device)
    if name == "clip":
        return openai.encoder_of(read_state(Path(path)), Path(path), device)
    if name in ("flip", "farl"):
        return _converted(name, Path(path), device)
    tower = name.removeprefix("open_clip:")
    if tower == name or tower not in open_clip_names():
        raise RunError(f"no published model called {name!r}", where=path, fix=_FIX)
    size = openai.image_size(tower)
    model = ModelConfig(tower=tower, weights=str(Path(path).absolute()), image_size=size)
    return EmoCapEncoder(EmoCapCLIP(model, openai.BARE), size, patches=False, device=device)


def weight_files(name: str, said: str) -> tuple[Path, ...]:
    """The files of a published model.

    Args:
        name: as `load_pretrained` takes it.
        said: a file; for `expclip` two, `HEAD.pth,CLIP.pt`, or a folder that holds them.

    Raises:
        RunError: if one is absent.
    """
    if name == "expclip":
        return files(said)
    if not Path(said).is_file():
        raise RunError("no such weights", where=said, fix=f"give {name}:PATH with the file of its weights")
    return (Path(said),)


def _converted(name: str, path: Path, device: torch.device | None) -> EmoCapEncoder:
    """FLIP under transformers' names, or FaRL with more than the towers, put into OpenAI's towers."""
    from mien.systems.emocapclip.exports.as_open_clip import open_clip_state
    from mien.systems.emocapclip.exports.as_transformers import from_clip_state

    state = read_state(path)
    kernel = "vision_model.embeddings.patch_embedding.weight" if name == "flip" else openai.KERNEL
    tower = openai.tower_of(state, kernel, path)
    model = openai.empty(tower)
    if name == "flip":
        renamed = from_clip_state(state, open_clip_state(model))
        found = {own.removeprefix("text."): tensor for own, tensor in renamed.items()}
    else:
        found = {own: state[own] for own in openai.tensors(model) if own in state}
    openai.fill(model, openai.weights_of(found), path)
    return EmoCapEncoder(model, openai.image_size(tower), patches=False, device=device)
