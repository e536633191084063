"""An editor as two diffusers folders and the states of its prompt, compared with mien's own weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from mien.engine.rundir import RunFolder
from mien.errors import RunError
from mien.systems.editing.config import EditorModel
from mien.systems.editing.importing import NEAR, PROMPT
from mien.systems.editing.released import RELEASES, write_release
from mien.systems.editing.start import attends
from mien.systems.weights import state_for_export


def write(run: RunFolder, which: str, folder: Path) -> dict[str, Any]:
    """Write the networks of a run as its system's release keeps them; `mien import` reads them back.

    The identity network is written whole, as diffusers loads it: what follows the last state that is read
    (26 tensors in published size) is zero.

    Args:
        run: of a system in `RELEASES`; averaged weights are taken where it keeps an average.
        which: checkpoint `last`, `best` or a step.
        folder: empty, exists.

    Returns:
        Facts: `loads`, `max_difference` (0), names of the folders `identity` and `denoiser`.

    Raises:
        RunError: if the run tells its edits or shows its photos in another way than a release, or diffusers
            reads other weights.
    """
    model, release = run.recipe.model, RELEASES[run.recipe.system]
    assert isinstance(model, EditorModel)
    if model.condition.injection != "linear":
        what = f"a denoiser with injection {model.condition.injection} has no form in diffusers"
        raise RunError(what, where=run.path, fix="export it --to safetensors")
    attends(model.unet, run.path)
    weights = state_for_export(run, which)
    states = {
        part: {
            name.removeprefix(f"{part}."): value
            for name, value in weights.items()
            if name.startswith(f"{part}.")
        }
        for part in ("identity", "denoiser")
    }
    places = {"identity": release.identity[0], "denoiser": release.denoiser[0]}
    backend = getattr(model, "backend", None)
    write_release(run.recipe.system, folder, states, {}, model.unet, model.condition, backend)
    save_file({"prompt": weights["prompt"]}, folder / PROMPT)
    near = {name: value for name, value in weights.items() if name.startswith("near.")}
    if near:  # stock classes have no place for it
        save_file(near, folder / NEAR)
    for part, place in places.items():
        _require_same(folder / place, states[part])
    loads = f'diffusers.UNet2DConditionModel.from_pretrained("{folder.name}/{places["denoiser"]}")'
    return {"loads": loads, "max_difference": 0.0, **places}


def _require_same(folder: Path, state: Mapping[str, Tensor]) -> None:
    """Raise RunError unless diffusers loads exactly these tensors, and nothing but zeros beside them."""
    loaded = UNet2DConditionModel.from_pretrained(
        folder, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
    ).state_dict()
    lost = [name for name in state if name not in loaded or not torch.equal(loaded[name], state[name])]
    made_up = [name for name, value in loaded.items() if name not in state and bool(value.any())]
    if lost or made_up:
        raise RunError(
            f"diffusers reads another {(lost or made_up)[0]!r} than was written",
            where=folder.name,
            fix="export it --to safetensors",
        )
