"""Starting weights of an editor: Stable Diffusion 1.5, a release, or another run; and the constant prompt."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mien.engine.rundir import RunFolder
from mien.errors import DataError, RunError
from mien.systems.editing.config import ConditionConfig, EditorModel, UNetConfig
from mien.systems.editing.model import Editor
from mien.systems.editing.photos import copy_encoder
from mien.systems.editing.released import RELEASES, read_release, require_alike, require_residual
from mien.systems.editing.unets import is_tail
from mien.systems.weights import load_strictly, read_state, require_shapes, state_for_export

_RECIPE = "recipe.yaml"


def read_prompt(file: str | None, width: int) -> Tensor:
    """States of the prompt, float32 [1, T, width]: tensor `prompt` of a safetensors file; one zero without.

    Raises:
        RunError: if there is no such file, or it holds something else.
    """
    if file is None:
        return torch.zeros(1, 1, width)
    prompt = read_state(Path(file)).get("prompt")
    if prompt is None or prompt.ndim != 3 or len(prompt) != 1 or prompt.shape[2] != width:
        what = "no tensor `prompt`" if prompt is None else f"`prompt` is {[*prompt.shape]}"
        raise RunError(what, where=file, fix=f"save states [1, T, {width}] of the prompt as `prompt`")
    return prompt.float()


def build(config: EditorModel, system: str, *, start: bool = True, prompt: Tensor | None = None) -> Editor:
    """Editor of the recipe's size.

    Args:
        config: the recipe's `model`.
        system: a key of `RELEASES`.
        start: whether to read `init_from`; without, weights are random and of no use but to be replaced.
        prompt: states [1, T, W] in place of those of the recipe's file.

    Raises:
        RunError: if starting weights or the prompt cannot be used.
        DataError: if tensors of the starting weights do not fit.
    """
    if prompt is None:
        prompt = read_prompt(config.prompt, config.unet.prompt_width)
    side, scale = config.image_size // config.codec.factor, config.codec.target_scale
    editor = Editor(config.unet, config.condition, prompt, side, scale)
    if config.checkpointing:
        if config.unet.photo in ("attention", "controlnet"):
            editor.identity.enable_gradient_checkpointing()
        editor.denoiser.enable_gradient_checkpointing()
    if start and config.init_from:
        start_from(editor, config.init_from, system, config.unet, config.condition)
    if config.unet.frozen:
        editor.denoiser.requires_grad_(False)
    return editor


def trained(folder: RunFolder, which: str, config: EditorModel, system: str) -> Editor:
    """Editor with the weights of a checkpoint of a run; averaged ones where the run kept an average.

    Raises:
        RunError: if the checkpoint cannot be used.
    """
    state = state_for_export(folder, which)
    editor = build(config, system, start=False, prompt=state.get("prompt"))  # its file may be gone
    load_strictly(editor, state, folder.path)
    return editor


def start_from(
    editor: Editor, source: str, system: str, unet: UNetConfig, condition: ConditionConfig | None = None
) -> None:
    """Load an editor's weights before its training.

    Args:
        editor: to load into.
        source: a run of the same system; a release as downloaded; or a folder of Stable Diffusion 1.5, whose
            `unet` both networks start from, with zeros where the denoiser takes more.
        system: a key of `RELEASES`.
        unet: sizes of both networks.
        condition: what the denoiser takes; None: as released.

    Raises:
        RunError: if the folder is none of these.
        DataError: if its tensors do not fit.
    """
    folder = Path(source)
    if (folder / _RECIPE).is_file():
        _start_run(editor, RunFolder.open(folder), unet)
    elif (folder / "unet").is_dir():
        attends(unet, source)
        _start_plain(editor, folder / "unet", unet)
    elif any((folder / place).is_dir() for place in RELEASES[system].identity):
        attends(unet, source)
        require_residual(system, folder, unet)
        states, _ = read_release(system, folder, unet, condition)
        editor.identity.load_state_dict(states["identity"])
        editor.denoiser.load_state_dict(states["denoiser"])
    else:
        fix = "give a run, a downloaded release, or a folder of Stable Diffusion 1.5 that holds `unet`"
        raise RunError("nothing to start from", where=source, fix=fix)


def attends(unet: UNetConfig, where: object) -> None:
    """Raise RunError for an editor that sees its photo in another way than the released form."""
    if unet.photo != "attention":
        fix = "set model.unet.photo=attention"
        raise RunError(f"the released form shows no photo by {unet.photo}", where=where, fix=fix)


def _start_run(editor: Editor, folder: RunFolder, unet: UNetConfig) -> None:
    """All weights of a run; of one that saw its photo in another way, or none, all but how it saw it."""
    theirs = folder.recipe.model
    if isinstance(theirs, EditorModel):
        require_alike(theirs.unet.tells_differences, unet, folder.path)
    state = state_for_export(folder)
    if isinstance(theirs, EditorModel) and theirs.unet.photo != unet.photo:
        kept = {name: value for name, value in state.items() if not name.startswith("identity.")}
        own = {name: value for name, value in editor.state_dict().items() if name.startswith("identity.")}
        load_strictly(editor, kept | own, folder.path)
        if unet.photo == "controlnet":
            copy_encoder(editor.identity, editor.denoiser)
    else:
        load_strictly(editor, state, folder.path)


def _start_plain(editor: Editor, folder: Path, unet: UNetConfig) -> None:
    """Both networks from one plain UNet; what a denoiser has beside it keeps its zeros."""
    file = folder / "diffusion_pytorch_model.safetensors"
    state = {name: value.float() for name, value in read_state(file).items()}
    kept = {name: value for name, value in state.items() if not is_tail(name, unet)}
    load_strictly(editor.identity, kept, file)
    own = editor.denoiser.state_dict()
    entry = "conv_in.weight"
    if entry not in state or state[entry].shape[1] != unet.latent_channels:
        what = f"{entry} does not take {unet.latent_channels} channels"
        raise DataError(what, where=file, fix="give a UNet of the size that model.unet describes")
    wider = own[entry].clone()
    wider[:, : unet.latent_channels] = state[entry]
    whole = {name: own[name] for name in own if name.startswith("class_embedding.")} | state | {entry: wider}
    require_shapes({name: value.shape for name, value in own.items()}, whole, file)
    editor.denoiser.load_state_dict(whole)
