"""Released weights of MagicFace and RigFace: folders of diffusers UNets, mapped strictly both ways.

The layer that takes the condition vector is called `au_aug_mlp` in both releases and `class_embedding` in
diffusers (magicface spec 7, rigface spec 7).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mien.errors import DataError, RunError
from mien.systems.editing.config import ConditionConfig, UNetConfig
from mien.systems.editing.unets import denoiser, identity_unet, is_tail

FILES = ("diffusion_pytorch_model.safetensors", "model.safetensors")
"""Names that a UNet's weights have in a diffusers folder; the first is written."""

_VECTOR, _THEIRS = "class_embedding.", "au_aug_mlp."
_BACKEND = "backend"  # in the metadata of the denoiser's file, if it is not the release's
_RESIDUAL = "residual"  # there, too, if it is


@dataclass(frozen=True)
class Release:
    """Where a release keeps its two UNets, and what its denoiser takes."""

    identity: tuple[str, ...]
    """Folders of the identity network, the first that exists is taken."""
    denoiser: tuple[str, ...]
    condition: ConditionConfig
    backend: str | None = None
    """Of the 3D face that steers the denoiser; None where no 3D face does."""


RELEASES = {
    "magicface": Release(
        ("ID_enc",), ("denoising_unet",), ConditionConfig(width=12, maps=1)
    ),
    "rigface": Release(
        ("pre_trained/unet_id/checkpoint-70000", "pre_trained/unet_id", "unet_id"),
        ("pre_trained/unet_denoise/checkpoint-70000", "pre_trained/unet_denoise", "unet_denoise"),
        ConditionConfig(width=64, maps=2),
        "bfm64",
    ),
}  # fmt: skip


def release_files(name: str, folder: Path) -> dict[str, Path]:
    """Files with the weights of `identity` and `denoiser`; arguments and errors as of `read_release`."""
    release = RELEASES[name]
    places = {"identity": release.identity, "denoiser": release.denoiser}
    return {part: _weights(folder, among) for part, among in places.items()}


def backend_of(name: str, folder: Path) -> str | None:
    """Backend of the 3D face that steers the denoiser of a folder, None of editors without one.

    An export says it; shapes alone would not tell, for heads of one width look different. Arguments and
    errors are those of `read_release`.
    """
    return _told(name, folder).get(_BACKEND, RELEASES[name].backend)


def require_residual(name: str, folder: Path, unet: UNetConfig) -> None:
    """Shapes would not tell whether a denoiser tells what differs from the photo, but an export says it.

    Raises:
        RunError: if it is not as `unet` says; otherwise as `read_release`.
    """
    require_alike(_RESIDUAL in _told(name, folder), unet, folder)


def require_alike(residual: bool, unet: UNetConfig, where: Path) -> None:
    """Raise RunError unless `unet` takes weights of a denoiser that is, or is not, `residual`."""
    if residual != unet.tells_differences:
        what = "this denoiser tells " + ("what differs from the photo" if residual else "whole latents")
        fix = f"set model.unet.residual={str(residual).lower()} in the recipe"
        raise RunError(what, where=where, fix=fix)


def _told(name: str, folder: Path) -> dict[str, str]:
    with _opened(release_files(name, folder)["denoiser"]) as opened:
        return dict(opened.metadata() or {})


def read_release(
    name: str, folder: Path, unet: UNetConfig, condition: ConditionConfig | None = None
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    """Weights of `identity` and `denoiser` by our names, float32, and of the identity network's unused tail.

    Args:
        name: of `RELEASES`.
        folder: as downloaded.
        unet: sizes of both networks.
        condition: what the denoiser takes; None: as released.

    Raises:
        DataError: for an absent folder or file, one that is not safetensors, and for any name or shape that
            does not fit; nothing is made up in its place.
    """
    release, found, tail = RELEASES[name], {}, {}
    with torch.device("meta"):
        wanted = {
            "identity": identity_unet(unet),
            "denoiser": denoiser(unet, condition or release.condition),
        }
    for part, file in release_files(name, folder).items():
        state = _renamed(_read(file), file)
        if part == "identity":
            tail = {key: state.pop(key) for key in list(state) if is_tail(key, unet)}
        _require(state, {key: value.shape for key, value in wanted[part].state_dict().items()}, file)
        found[part] = state
    return found, tail


def write_release(
    name: str,
    folder: Path,
    states: Mapping[str, Mapping[str, Tensor]],
    tail: Mapping[str, Tensor],
    unet: UNetConfig,
    condition: ConditionConfig | None = None,
    backend: str | None = None,
) -> None:
    """Two diffusers folders, `config.json` and safetensors, as `read_release` reads them.

    Args:
        name: of `RELEASES`.
        folder: to write into; made if absent.
        states: `identity` and `denoiser`: tensors by our names.
        tail: of the identity network; zeros are written where it is empty, since nothing reads it.
        unet: sizes of both.
        condition: what the denoiser takes; None: as released.
        backend: of the 3D face that steers it; see `backend_of`.
    """
    from diffusers import UNet2DConditionModel

    release = RELEASES[name]
    with torch.device("meta"):
        whole = UNet2DConditionModel(**unet.arguments())
    ends = {
        key: torch.zeros(value.shape) for key, value in whole.state_dict().items() if is_tail(key, unet)
    } | dict(tail)
    condition = condition or release.condition
    plain = unet.arguments()
    own = plain | {
        "in_channels": plain["in_channels"] + unet.latent_channels * condition.maps + unet.beside,
        "class_embed_type": "simple_projection",
        "projection_class_embeddings_input_dim": condition.width,
    }
    told = ({_BACKEND: backend} if backend else {}) | ({_RESIDUAL: "true"} if unet.tells_differences else {})
    for places, state, arguments, metadata in (
        (release.identity, dict(states["identity"]) | ends, plain, {}),
        (release.denoiser, dict(states["denoiser"]), own, told),
    ):
        target = folder / places[0]
        target.mkdir(parents=True, exist_ok=True)
        config = {"_class_name": "UNet2DConditionModel", "sample_size": 64} | arguments
        (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file(
            {key: value.contiguous() for key, value in state.items()}, target / FILES[0], metadata or None
        )


def _weights(folder: Path, places: tuple[str, ...]) -> Path:
    if not folder.is_dir():
        raise DataError("no such folder", where=folder, fix="give the folder of the downloaded release")
    files = [folder / place / name for place in places for name in FILES]
    for file in files:
        if file.is_file():
            return file
    raise DataError(
        "a UNet of the release is missing", where=folder / places[0] / FILES[0],
        fix="download the release whole; only safetensors are read",
    )  # fmt: skip


def _read(file: Path) -> dict[str, Tensor]:
    with _opened(file) as opened:
        return {key: opened.get_tensor(key).float() for key in opened.keys()}  # noqa: SIM118


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with safe_open(file, "pt") as opened:
            yield opened
    except (SafetensorError, OSError) as error:
        raise DataError(f"not a safetensors file: {error}", where=file, fix="download it again") from error


def _renamed(state: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    both = {_VECTOR, _THEIRS} <= {f"{key.partition('.')[0]}." for key in state}
    if both:
        raise DataError(
            f"holds {_THEIRS}* and {_VECTOR}*: one would hide the other", where=file, fix="remove one"
        )
    return {
        _VECTOR + key.removeprefix(_THEIRS) if key.startswith(_THEIRS) else key: value
        for key, value in state.items()
    }


def _require(state: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], file: Path) -> None:
    missing, more = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    wrong = [key for key in wanted if key in state and state[key].shape != wanted[key]]
    if not (missing or more or wrong):
        return
    told = []
    if missing:
        told.append(f"{len(missing)} tensors are missing, first {missing[0]}")
    if more:
        told.append(f"{len(more)} are unknown, first {more[0]}")
    if wrong:
        shape, want = [*state[wrong[0]].shape], [*wanted[wrong[0]]]
        told.append(f"{len(wrong)} have another shape, first {wrong[0]} {shape} in place of {want}")
    raise DataError(
        "; ".join(told), where=file, fix="give the release that the recipe's model section describes"
    )
