"""`mien import rigface` and `mien export --to diffusers`: strictly, to the bit, and never another backend."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from editing_releases import SMALL, prompt_file, published, small_recipe
from mien import recipe as recipes
from mien.engine import given
from mien.engine.rundir import RunFolder
from mien.errors import DataError, MienError, RunError
from mien.export import export
from mien.systems.editing.config import UNetConfig
from mien.systems.editing.importing import Beside, import_release
from mien.systems.editing.model import Editor
from mien.systems.editing.released import FILES, RELEASES, backend_of
from mien.systems.editing.unets import denoiser, identity_unet, is_tail
from mien.systems.rigface.config import RigFaceModel
from mien.systems.rigface.load import load
from mien.systems.rigface.model import build
from mien.systems.weights import state_for_export

OWN = ("model.backend=builtin", "model.condition.width=50")


def same(one: RunFolder, other: RunFolder) -> bool:
    before, after = state_for_export(one), state_for_export(other)
    return before.keys() == after.keys() and all(torch.equal(after[name], v) for name, v in before.items())


def test_a_release_becomes_a_run_and_a_release_again(tmp_path: Path) -> None:
    dtype = torch.float16
    files = published("rigface", tmp_path / "release", dtype)
    recipe = str(small_recipe(tmp_path / "small.yaml", system="rigface"))
    beside = Beside(prompt=prompt_file(tmp_path / "prompt.safetensors"))
    run = import_release("rigface", tmp_path / "release", tmp_path / "runs", beside, recipe=recipe)
    assert run.recipe.name == "rigface/imported"
    state = state_for_export(run)
    place = RELEASES["rigface"].denoiser[0]
    theirs = files[place]["au_aug_mlp.weight"]  # the layer of psi keeps the name of another system's
    assert torch.equal(state["denoiser.class_embedding.weight"], theirs.to(dtype).float())
    assert state["denoiser.class_embedding.weight"].shape[1] == 64
    assert state["denoiser.conv_in.weight"].shape[1] == 12

    out = tmp_path / "out"
    export(run.path, out, to="diffusers")
    loaded = UNet2DConditionModel.from_pretrained(out / place, use_safetensors=True).state_dict()
    assert all(
        torch.equal(value, state[f"denoiser.{name}"]) for name, value in loaded.items()
    )  # and nothing else is there
    assert backend_of("rigface", out) == "bfm64"
    card = (out / "README.md").read_text()
    assert "64 coefficients of the Basel model" in card
    assert str(tmp_path) not in card
    assert same(run, import_release("rigface", out, tmp_path / "again", Beside(), recipe=recipe))
    with pytest.raises(RunError, match="trained with backend bfm64, and the rig is builtin"):
        load(run.path)


def test_an_export_of_another_backend_comes_back_and_is_not_mistaken(tmp_path: Path) -> None:
    file = small_recipe(tmp_path / "small.yaml", system="rigface")
    own = recipes.load(file, [*OWN, f"run.root={tmp_path / 'runs'}", "engine.ema=null"])
    torch.manual_seed(0)
    model = own.model
    assert isinstance(model, RigFaceModel)
    editor = Editor(SMALL, model.condition, torch.randn(1, 5, 32))
    torch.nn.init.normal_(editor.denoiser.class_embedding.weight)
    run = given.make(own, "own", {f"model.{name}": value for name, value in editor.state_dict().items()}, {})
    export(run.path, tmp_path / "out", to="diffusers")
    recipe = str(run.path / "recipe.yaml")
    again = import_release("rigface", tmp_path / "out", tmp_path / "again", Beside(), recipe=recipe)
    assert same(run, again)
    start = model.model_copy(update={"init_from": str(tmp_path / "out")})
    assert torch.equal(build(start).denoiser.class_embedding.weight, editor.denoiser.class_embedding.weight)
    # A head of the same width that looks different: shapes would not tell.
    other = recipes.change(own, ["model.backend=ict"], "test")
    (tmp_path / "ict.yaml").write_text(recipes.to_yaml(other), encoding="utf-8")
    with pytest.raises(MienError, match=r"read backend builtin, the recipe says ict; give a --recipe with"):
        import_release(
            "rigface", tmp_path / "out", tmp_path / "third", Beside(), recipe=str(tmp_path / "ict.yaml")
        )
    with pytest.raises(RunError, match="read backend builtin, the recipe says ict"):
        build(start.model_copy(update={"backend": "ict"}))
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("part", "how", "told"),
    [
        ("denoiser", "missing", "1 tensors are missing, first class_embedding.bias"),
        ("denoiser", "entry", r"first conv_in.weight \[32, 8, 3, 3\] in place of \[32, 12, 3, 3\]"),
        ("identity", "unknown", "1 are unknown, first more.weight"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, part: str, how: str, told: str) -> None:
    published("rigface", tmp_path / "release")
    file = tmp_path / "release" / getattr(RELEASES["rigface"], part)[0] / FILES[0]
    state = {name: value.clone() for name, value in load_file(file).items()}
    if how == "missing":
        del state["au_aug_mlp.bias"]
    elif how == "entry":
        state["conv_in.weight"] = torch.zeros(32, 8, 3, 3)  # MagicFace's
    else:
        state["more.weight"] = torch.zeros(1)
    save_file(state, file)
    recipe = str(small_recipe(tmp_path / "small.yaml", system="rigface"))
    with pytest.raises(DataError, match=told):
        import_release(
            "rigface", tmp_path / "release", tmp_path / "runs", Beside(no_prompt=True), recipe=recipe
        )
    assert not (tmp_path / "runs").exists()


def test_names_and_shapes_at_full_width() -> None:
    """The published networks, on meta: ours have exactly their tensors, less the identity network's tail."""
    model = recipes.load("rigface/paper").model
    assert isinstance(model, RigFaceModel)
    assert model.unet == UNetConfig()
    plain = model.unet.arguments()
    more = {
        "in_channels": 12,
        "class_embed_type": "simple_projection",
        "projection_class_embeddings_input_dim": 64,
    }
    with torch.device("meta"):
        theirs = {
            "identity": UNet2DConditionModel(**plain), "denoiser": UNet2DConditionModel(**plain | more),
        }  # fmt: skip
        ours = {"identity": identity_unet(model.unet), "denoiser": denoiser(model.unet, model.condition)}
    counts = [sum(p.numel() for p in theirs[part].parameters()) for part in ("identity", "denoiser")]
    assert counts == [859_520_964, 859_627_204]
    for part in theirs:
        shapes = {
            name: v.shape
            for name, v in theirs[part].state_dict().items()
            if part == "denoiser" or not is_tail(name, model.unet)
        }
        assert {name: v.shape for name, v in ours[part].state_dict().items()} == shapes
    assert len(theirs["identity"].state_dict()) - len(ours["identity"].state_dict()) == 26
