"""Weights from files: read without running code, matched key by key."""

from __future__ import annotations

import difflib
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mien.errors import RunError

if TYPE_CHECKING:
    from mien.engine.rundir import RunFolder

_PREFIX = "model."
_FIX = "give a .safetensors file, or a .pt/.pth/.bin file of plain tensors"
_ARCHIVE = (
    "if you trust it, save its tensors: torch.save(torch.jit.load(FILE, 'cpu').state_dict(), 'plain.pt')"
)
_OTHER = "use the model section that the weights were made with"


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file or a torch file of plain tensors; nothing in it is run.

    Files are mapped, not copied into memory, where their format allows it: change no tensor in place.

    Raises:
        RunError: if the file is absent, damaged, holds code (TorchScript, pickled classes) or no tensors.
    """
    if not path.is_file():
        raise RunError("no such weights file", where=path, fix=_FIX)
    try:
        state = load_file(path) if path.suffix == ".safetensors" else _torch_state(path)
    except (
        SafetensorError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"weights cannot be read safely: {reason}", where=path, fix=_FIX) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if (
        not isinstance(state, dict)
        or not all(isinstance(value, Tensor) for value in state.values())
        or not state
    ):
        raise RunError("weights file does not hold tensors by name", where=path, fix=_FIX)
    prefix = "module."
    return {str(key).removeprefix(prefix): value for key, value in state.items()}


def _torch_state(path: Path) -> Any:
    """What a torch file holds, mapped if it is of today's format; raises RunError for TorchScript."""
    if not zipfile.is_zipfile(path):
        return torch.load(path, map_location="cpu", weights_only=True)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names):
        raise RunError("weights cannot be read safely: a TorchScript archive", where=path, fix=_ARCHIVE)
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def require_shapes(
    expected: Mapping[str, Sequence[int]], state: Mapping[str, Tensor], where: object, fix: str = _OTHER
) -> None:
    """Demand exactly these tensors of exactly these shapes.

    Args:
        expected: shapes by name.
        state: what a file holds.
        where: file, for the message.
        fix: what the user can do about it.

    Raises:
        RunError: naming the first tensor that is missing, unknown or of another shape.
    """
    missing, unknown = [k for k in expected if k not in state], [k for k in state if k not in expected]
    if missing or unknown:
        name = (missing or unknown)[0]
        close = difflib.get_close_matches(name, unknown if missing else missing, n=1)
        nearest = f"; nearest in {'the file' if missing else 'the model'}: {close[0]!r}" if close else ""
        what = f"{len(missing)} tensors missing, {len(unknown)} unknown, first {name!r}{nearest}"
        raise RunError(what, where=where, fix=fix)
    for name, shape in expected.items():
        if tuple(state[name].shape) != tuple(shape):
            what = f"{name!r} has shape {[*state[name].shape]}, the model {[*shape]}"
            raise RunError(what, where=where, fix=fix)


def load_strictly(module: nn.Module, state: dict[str, Tensor], where: object) -> None:
    """Load every tensor of `module`; names and shapes must match exactly.

    Raises:
        RunError: naming the first tensor that is missing, unknown or of another shape.
    """
    require_shapes({name: tensor.shape for name, tensor in module.state_dict().items()}, state, where)
    module.load_state_dict(state)


def state_for_export(folder: RunFolder, which: str = "last") -> dict[str, Tensor]:
    """Weights of a run's `model` by name, contiguous float32 on the CPU; averaged ones where there are.

    Args:
        folder: of a system whose module keeps its networks in `model`.
        which: `last`, `best` or a step number.

    Raises:
        RunError: if there is no usable checkpoint.
    """
    weights = folder.checkpoint(which).weights()
    return {
        name.removeprefix(_PREFIX): value.detach().float().contiguous().cpu()
        for name, value in weights.items()
        if name.startswith(_PREFIX)
    }
