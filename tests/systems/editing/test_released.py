"""Files with the names, shapes and dtypes of the releases, on a small width, and at full width on meta."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from editing_releases import SMALL, published
from mien.errors import DataError
from mien.systems.editing.model import Editor
from mien.systems.editing.released import FILES, RELEASES, read_release, write_release
from mien.systems.editing.unets import is_tail


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
@pytest.mark.parametrize("name", RELEASES)
def test_a_release_loads_strictly_and_predicts_what_its_unets_do(
    name: str, dtype: torch.dtype, tmp_path: Path
):
    files = published(name, tmp_path, dtype)
    states, tail = read_release(name, tmp_path, SMALL)
    condition = RELEASES[name].condition
    editor = Editor(SMALL, condition, torch.randn(1, 5, 32))
    editor.identity.load_state_dict(states["identity"], strict=True)
    editor.denoiser.load_state_dict(states["denoiser"], strict=True)
    assert len(tail) == 26
    theirs = files[RELEASES[name].denoiser[0]]
    assert torch.equal(editor.denoiser.class_embedding.weight, theirs["au_aug_mlp.weight"].to(dtype).float())
    assert all(value.dtype == torch.float32 for value in states["identity"].values())


@pytest.mark.parametrize("name", RELEASES)
def test_what_is_written_is_read_back_and_loads_in_diffusers(name: str, tmp_path: Path):
    published(name, tmp_path / "in")
    states, tail = read_release(name, tmp_path / "in", SMALL)
    write_release(name, tmp_path / "out", states, tail, SMALL)
    again, tail_again = read_release(name, tmp_path / "out", SMALL)
    for one, other in ((states["identity"], again["identity"]), (states["denoiser"], again["denoiser"])):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert all(torch.equal(tail[key], tail_again[key]) for key in tail)
    release = RELEASES[name]
    loaded = UNet2DConditionModel.from_pretrained(tmp_path / "out" / release.denoiser[0])
    assert loaded.config.in_channels == 4 * (1 + release.condition.maps)
    assert torch.equal(
        loaded.state_dict()["class_embedding.weight"], states["denoiser"]["class_embedding.weight"]
    )
    whole = UNet2DConditionModel.from_pretrained(tmp_path / "out" / release.identity[0])
    assert torch.equal(whole.state_dict()["conv_out.weight"], tail["conv_out.weight"])


def test_without_a_tail_zeros_are_written(tmp_path: Path):
    published("magicface", tmp_path / "in")
    states, _ = read_release("magicface", tmp_path / "in", SMALL)
    write_release("magicface", tmp_path / "out", states, {}, SMALL)
    file = load_file(tmp_path / "out" / "ID_enc" / FILES[0])
    assert not any(value.any() for key, value in file.items() if is_tail(key, SMALL))
    config = json.loads((tmp_path / "out" / "ID_enc" / "config.json").read_text())
    assert config["block_out_channels"] == [32, 32, 64, 64]


def spoil(file: Path, how: str) -> None:
    state = load_file(file)
    if how == "missing":
        del state["conv_in.weight"]
    elif how == "unknown":
        state["more.weight"] = torch.zeros(2)
    elif how == "shape":
        state["au_aug_mlp.weight"] = torch.zeros(128, 13)
    elif how == "both names":
        state["class_embedding.weight"] = torch.zeros(128, 12)
    elif how == "pickle":
        file.unlink()
        torch.save(state, file)
        return
    elif how == "absent":
        file.unlink()
        return
    save_file(state, file)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("missing", "1 tensors are missing, first conv_in.weight"),
        ("unknown", "1 are unknown, first more.weight"),
        ("shape", r"first class_embedding.weight \[128, 13\] in place of \[128, 12\]"),
        ("both names", "one would hide the other"),
        ("pickle", "not a safetensors file"),
        ("absent", "a UNet of the release is missing"),
    ],
)
def test_what_does_not_fit_is_refused(how: str, told: str, tmp_path: Path):
    published("magicface", tmp_path)
    spoil(tmp_path / "denoising_unet" / FILES[0], how)
    with pytest.raises(DataError, match=told):
        read_release("magicface", tmp_path, SMALL)
    with pytest.raises(DataError, match="no such folder"):
        read_release("magicface", tmp_path / "nowhere", SMALL)


def test_another_width_is_refused(tmp_path: Path):
    published("magicface", tmp_path)
    with pytest.raises(DataError, match="have another shape"):
        read_release("magicface", tmp_path, SMALL.model_copy(update={"channels": (32, 64, 64, 64)}))
