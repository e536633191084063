"""A downloaded release, or an export to diffusers, as a run that every command takes: `mien import`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mien import recipe as recipes
from mien.engine import given
from mien.engine.checkpoint_files import stated
from mien.engine.rundir import RunFolder
from mien.errors import DataError, MienError, RunError
from mien.recipe import Recipe
from mien.systems.editing.codec import open_codec
from mien.systems.editing.config import CodecConfig, EditorModel
from mien.systems.editing.nearness import Nearness
from mien.systems.editing.reference import blocks
from mien.systems.editing.released import FILES, backend_of, read_release, release_files, require_residual
from mien.systems.editing.start import read_prompt
from mien.systems.editing.unets import denoiser
from mien.systems.weights import read_state, require_shapes

RECIPES = {"magicface": "magicface/paper", "rigface": "rigface/paper"}
"""Systems whose release can be imported, and the recipe that describes it."""
PROMPT = "prompt.safetensors"
"""File beside the UNets of an export that holds the states of its prompt; releases have none."""
NEAR = "near.safetensors"
"""File with how attention falls off, of networks that were trained so; releases have none."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Beside:
    """What belongs to an editor and is not in its UNets."""

    vae: Path | None = None
    """Diffusers folder of the autoencoder; None takes the recipe's if it is there."""
    prompt: Path | None = None
    """States of the prompt; None takes those of the imported folder, then the recipe's if they are there."""
    no_prompt: bool = False
    """One zero in place of the prompt."""


def import_release(
    system: str,
    folder: Path,
    root: Path,
    beside: Beside,
    *,
    recipe: str | None = None,
    progress: Say = lambda _: None,
) -> RunFolder:
    """Write a run with one checkpoint, at step 0; there is all of it or nothing.

    Weights become float32. The frozen recipe names no training data and no average, for this run has none;
    its name ends in `imported`, and its folder is named after what was read.

    Args:
        system: of `RECIPES`.
        folder: as downloaded, or as exported.
        root: below which the run lands.
        beside: autoencoder and prompt.
        recipe: file or name; sizes of the networks are its `model`. None takes that of `RECIPES`.
        progress: told one line a stage.

    Raises:
        MienError: for a system without a release, options that contradict each other, or no prompt.
        RecipeError: if the recipe is not valid.
        DataError: if files of the release are absent or do not fit the recipe; nothing is made up.
        RunError: if autoencoder or prompt cannot be read, or the run exists or cannot be written.
    """
    if system not in RECIPES:
        what = f"no release of {system!r} can be imported"
        raise MienError(what, where="mien import", fix=f"one of: {', '.join(RECIPES)}")
    files = release_files(system, folder)
    loaded = recipes.load(recipe or RECIPES[system])
    if loaded.system != system:
        raise MienError(f"a recipe of {loaded.system}", where=loaded.name, fix=f"give a recipe of {system}")
    resolved = _resolve(loaded, folder, root, beside, progress)
    model = _model(resolved)
    _check_codec(model)
    _check_form(system, folder, model)
    prompt = read_prompt(model.prompt, model.unet.prompt_width)
    near = _near(folder, model)
    if near:
        files["near"] = folder / NEAR
    if model.prompt is not None:
        files["prompt"] = Path(model.prompt)
        progress(f"prompt: {prompt.shape[1]} states of width {prompt.shape[2]}")
    if model.codec.folder is not None:
        files["vae"] = Path(model.codec.folder) / FILES[0]
    progress(f"hashing {_size(sum(file.stat().st_size for file in files.values()))} of {len(files)} files")
    known = {part: {"file": _shown(file, folder), **stated(file)} for part, file in files.items()}
    run_id = _name(resolved, [str(facts["sha256"]) for facts in known.values()])
    path = given.place(resolved, run_id)
    progress("reading both networks")
    states, _ = read_release(system, folder, model.unet, model.condition)
    weights = {f"model.{part}.{name}": value for part in states for name, value in states[part].items()}
    weights |= {f"model.{name}": value for name, value in near.items()}
    progress(f"writing {path}")
    imported = {"release": system, "recipe": loaded.name, "files": known}
    return given.make(resolved, run_id, weights | {"model.prompt": prompt}, imported)


def _resolve(loaded: Recipe, folder: Path, root: Path, beside: Beside, progress: Say) -> Recipe:
    """What is frozen into the run: the recipe, less what was never done here, with what lies beside."""
    model = _model(loaded)
    codec = _codec_folder(model.codec, beside.vae)
    if model.codec.kind == "vae" and codec is None:
        progress("no autoencoder: this run cannot edit photographs; import again with --vae for that")
    overrides = {
        "run.root": str(root), "data.train": None, "data.val": None, "engine.ema": None,
        "model.init_from": None, "model.codec.folder": codec,
        "model.prompt": _prompt_file(model, folder, beside),
    }  # fmt: skip
    told = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
    name = f"{loaded.system}/imported"  # so that no `--resume` of the recipe finds this run
    return recipes.change(loaded, told, "mien import").model_copy(update={"name": name})


def _near(folder: Path, model: EditorModel) -> dict[str, Tensor]:
    """Falloffs of the folder, `near.falloff.BLOCK`; refuses those that the recipe has no place for.

    Raises:
        DataError: if recipe and folder do not agree.
    """
    file = folder / NEAR
    if file.is_file() != bool(model.unet.near):
        what = "falloffs of attention are missing" if model.unet.near else "the recipe has no place for these"
        fix = "give a recipe whose model.unet.near is empty, as released" if model.unet.near else (
            "give the recipe of the run that was exported"
        )  # fmt: skip
        raise DataError(what, where=file, fix=fix)
    if not model.unet.near:
        return {}
    with torch.device("meta"):
        wanted = denoiser(model.unet, model.condition)
    nearness = Nearness([name for name, _ in blocks(wanted)], model.unet.heads, model.unet.near)
    shapes = {f"near.{name}": value.shape for name, value in nearness.state_dict().items()}
    state = {name: value.float() for name, value in read_state(file).items()}
    require_shapes(shapes, state, file)
    return state


def _model(recipe: Recipe) -> EditorModel:
    model = recipe.model
    assert isinstance(model, EditorModel)
    if model.condition.injection != "linear":
        what = f"releases take {model.condition.width} numbers by a linear layer"
        raise MienError(what, where="model.condition", fix="give a recipe with the default condition")
    return model


def _codec_folder(codec: CodecConfig, asked: Path | None) -> str | None:
    if codec.kind != "vae":
        if asked is not None:
            what = f"the recipe's codec is {codec.kind}, which has no autoencoder"
            raise MienError(what, where="--vae", fix="leave it out, or give another --recipe")
        return codec.folder
    if asked is not None:
        return str(asked.resolve())
    if codec.folder is not None and Path(codec.folder).is_dir():
        return str(Path(codec.folder).resolve())
    return None


def _prompt_file(model: EditorModel, folder: Path, beside: Beside) -> str | None:
    if beside.no_prompt:
        if beside.prompt is not None:
            raise MienError("goes with no --prompt", where="--no-prompt", fix="give one of both")
        return None
    if beside.prompt is not None:
        return str(beside.prompt.resolve())
    for file in (folder / PROMPT, Path(model.prompt) if model.prompt else None):
        if file is not None and file.is_file():
            return str(file.resolve())
    # A zero in its place would run without a word and give worse pictures than the release.
    raise MienError(
        "the states of the prompt are missing, which both networks were trained with", where="--prompt",
        fix="give a safetensors file (see --help), or --no-prompt for weights trained without one",
    )  # fmt: skip


def _check_codec(model: EditorModel) -> None:
    codec = open_codec(model.codec)
    if codec.channels not in (0, model.unet.latent_channels):
        what = f"makes {codec.channels} channels, the networks take {model.unet.latent_channels}"
        raise RunError(
            what, where=model.codec.folder or "", fix="give the autoencoder that they learned with"
        )


def _check_form(system: str, folder: Path, model: EditorModel) -> None:
    theirs, asked = backend_of(system, folder), getattr(model, "backend", None)
    if theirs != asked:
        what = f"these weights read backend {theirs}, the recipe says {asked}"
        raise MienError(what, where=folder, fix=f"give a --recipe with model.backend {theirs}")
    require_residual(system, folder, model.unet)


def _shown(file: Path, folder: Path) -> str:
    return str(file.relative_to(folder) if file.is_relative_to(folder) else file.name)


def _name(recipe: Recipe, hashes: list[str]) -> str:
    return hashlib.sha256("".join([recipe.hash, *hashes]).encode()).hexdigest()[:12]


def _size(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
