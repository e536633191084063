"""Other ways to show the photo: what reaches the denoiser, what starts at nothing, what frozen ones learn."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from editing_runs import SMALL, Mien, command, untrained
from mien import recipe as recipes
from mien.engine.rundir import RunFolder
from mien.errors import RecipeError, RunError
from mien.systems.editing.config import EditObjective, NoiseConfig
from mien.systems.editing.exporting import write
from mien.systems.editing.face import Face
from mien.systems.editing.model import Editor
from mien.systems.editing.noise import Guidance
from mien.systems.editing.photos import copy_encoder
from mien.systems.editing.sampler import SampleConfig, sample
from mien.systems.magicface.config import MagicFaceModel
from mien.systems.magicface.load import MagicFace, load
from mien.systems.magicface.model import build
from mien.systems.magicface.module import MagicFaceModule

OTHERS = ("controlnet", "convolutions", "none")
mien = pytest.fixture(command)


def model(*keys: str) -> MagicFaceModel:
    found = recipes.load("magicface/tiny", [*SMALL, *keys]).model
    assert isinstance(found, MagicFaceModel)
    return found


def editor(*keys: str) -> Editor:
    torch.manual_seed(0)
    return build(model(*keys))


def shaken(made: Editor) -> Editor:
    """No weight is zero, so that everything has a way to what comes out."""
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def inputs(batch: int = 2) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    shape = (batch, 19, 8, 8)
    noisy, maps, photo = (torch.randn(shape, generator=generator) for _ in range(3))
    vector = torch.randn(batch, 12, generator=generator)
    return {
        "noisy": noisy,
        "maps": maps,
        "photo": photo,
        "vector": vector,
        "step": torch.tensor([900] * batch),
    }


def said(made: Editor, given: dict[str, Any]) -> torch.Tensor:
    bank = made.features(given["photo"])
    return made.noise(given["noisy"], given["maps"], given["step"], given["vector"], bank)


@pytest.mark.parametrize("injection", ["linear", "pad", "channel"])
@pytest.mark.parametrize("photo", OTHERS)
def test_the_photo_reaches_what_is_said_unless_there_is_none(photo: str, injection: str) -> None:
    made = editor(
        f"model.unet.photo={photo}", "model.unet.residual=false",
        f"model.condition={{width: 12, injection: {injection}}}",
    )  # fmt: skip
    given = inputs()
    other = given | {"photo": given["photo"].flip(0)}
    with torch.no_grad():
        assert torch.equal(said(made, given), said(made, other)), "at first nothing is added"
        shaken(made)
        moved = float((said(made, given) - said(made, other)).abs().max())
        assert (moved == 0) == (photo == "none")
        for name in ("vector", "maps", "noisy"):
            changed = given | {name: given[name].flip(0)}
            assert float((said(made, given) - said(made, changed)).abs().max()) > 1e-4, name


@pytest.mark.parametrize("photo", ["attention", "controlnet", "convolutions", "none"])
def test_what_tells_differences_begins_with_the_photo_as_it_is(photo: str) -> None:
    made = editor(f"model.unet.photo={photo}", "model.unet.residual=true")
    given = inputs()
    with torch.no_grad():
        if photo == "none":
            assert not torch.equal(said(made, given), given["photo"])
            return
        assert torch.equal(said(made, given), given["photo"])
        shaken(made)
        bank = made.features(given["photo"])
        whole = made.noise(given["noisy"], given["maps"], given["step"], given["vector"], bank)
        brighter = replace(bank, latent=given["photo"] + 1)
        more = made.noise(given["noisy"], given["maps"], given["step"], given["vector"], brighter)
        assert float((more - whole - 1).abs().max()) > 1e-4, "the photo lies beside what is noisy"
        if photo != "controlnet":  # there the latent is also what the network looks at
            blind = deepcopy(made)
            blind.denoiser.conv_in.weight[:, -given["photo"].shape[1] :] = 0
            dark, bright = (
                blind.noise(given["noisy"], given["maps"], given["step"], given["vector"], one)
                for one in (bank, brighter)
            )
            torch.testing.assert_close(bright, dark + 1)
        kept, prompt = made.kept(given["photo"])
        again = made.noise(given["noisy"], given["maps"], given["step"], given["vector"], kept, prompt)
        torch.testing.assert_close(again, whole, rtol=1e-4, atol=1e-5)


def test_weights_of_the_other_kind_are_no_start(tmp_path: Path) -> None:
    whole = untrained(tmp_path, "magicface/tiny", *SMALL, "model.unet.residual=false")
    with pytest.raises(RunError, match=r"whole latents; set model.unet.residual=false in the recipe"):
        editor("model.unet.residual=true", f"model.init_from={whole}")


def test_an_edit_that_changes_nothing_is_the_photo_to_the_bit() -> None:
    """What the codec leaves out of a photo stays, too."""
    recipe = recipes.load("magicface/tiny", [*SMALL, "model.unet.residual=true"])
    assert isinstance(recipe.objective, EditObjective)
    rest = MagicFace(editor("model.unet.residual=true"), model("model.unet.residual=true"), recipe.objective)
    noisy = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    face = Face(noisy, np.ones((32, 32), np.uint8), *[np.full((17, 2), 16.0)] * 2)
    vectors = 3 * torch.randn(2, 12, generator=torch.Generator().manual_seed(0))
    made = rest.edit(face, vectors, SampleConfig(steps=3, guidance=Guidance(scale=1.5)))
    assert torch.equal(made, torch.from_numpy(noisy).permute(2, 0, 1).expand(2, -1, -1, -1))
    with torch.inference_mode():
        through = rest.codec.decode(rest.encode(noisy))
    assert float((through - rest.pixels(noisy)).abs().mean()) > 0.1, "else this test sees nothing"


def test_without_a_photo_there_is_nothing_to_differ_from() -> None:
    made, given = editor("model.unet.residual=true"), inputs()
    for bank in (None, replace(made.features(given["photo"]), latent=None)):
        with pytest.raises(ValueError, match="needs a bank with the photo"):
            made.noise(given["noisy"], given["maps"], given["step"], given["vector"], bank)


def test_a_control_network_starts_as_a_copy_but_for_the_photo_beside() -> None:
    made = editor("model.unet.photo=controlnet", "model.unet.residual=true")
    shaken(made)
    copy_encoder(made.identity, made.denoiser)
    theirs = made.identity.conv_in.weight
    beside = inputs()["photo"].shape[1]
    torch.testing.assert_close(theirs, made.denoiser.conv_in.weight[:, :-beside])


@pytest.mark.parametrize("photo", OTHERS)
def test_time_and_vector_may_scale_channels(photo: str) -> None:
    key = "model.unet.resnet_time_scale_shift"
    plain, scaled = (
        editor(f"model.unet.photo={photo}", f"{key}={how}") for how in ("default", "scale_shift")
    )
    block = "denoiser.down_blocks.0.resnets.0.time_emb_proj.weight"
    shapes = [made.state_dict()[block].shape[0] for made in (plain, scaled)]
    assert shapes[1] == 2 * shapes[0]
    given = inputs()
    with torch.no_grad():
        shaken(scaled)
        changed = given | {"vector": given["vector"].flip(0)}
        assert float((said(scaled, given) - said(scaled, changed)).abs().max()) > 1e-4


def test_only_clean_latents_are_told_as_differences() -> None:
    keys = (*SMALL, "model.unet.residual=true", "objective.noise.prediction=v")
    with pytest.raises(RunError, match=r"clean latent.*prediction=sample"):
        MagicFaceModule(recipes.load("magicface/tiny", keys))


@pytest.mark.parametrize("photo", OTHERS)
def test_many_edits_of_one_photo_are_those_of_each_alone(photo: str) -> None:
    made = shaken(editor(f"model.unet.photo={photo}")).eval()
    given = inputs(3)
    one = given["photo"][:1]
    noise = NoiseConfig(prediction="sample", zero_snr=True)
    config = SampleConfig(sampler="ddim", steps=2, batch=3, guidance=Guidance(scale=2.0))
    with torch.no_grad():
        together = sample(made, one, given["maps"], given["vector"], noise, config)
        alone = sample(made, one, given["maps"][1:2], given["vector"][1:2], noise, config)
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("photo", OTHERS)
def test_every_weight_learns(photo: str) -> None:
    recipe = recipes.load("magicface/tiny", [*SMALL, f"model.unet.photo={photo}"])
    module = MagicFaceModule(recipe)
    shaken(module.model)
    given = inputs()
    said(module.model, given).square().mean().backward()
    still = [name for name, one in module.model.named_parameters() if one.grad is None or not one.grad.any()]
    # The prompt is one zero: it is attended to whatever is asked, and there is nothing in it.
    idle = ("attn2.", "transformer_blocks.0.norm2")
    assert [name for name in still if not any(part in name for part in idle)] == []
    grouped = {id(one) for group in module.param_groups() for one in group["params"]}
    assert grouped == {id(one) for one in module.model.parameters()}


@pytest.mark.parametrize("photo", ["controlnet", "convolutions"])
def test_a_frozen_denoiser_keeps_its_weights_and_the_rest_learns(photo: str, tmp_path: Path) -> None:
    first = untrained(tmp_path, "magicface/tiny", *SMALL, "model.unet.photo=none")
    keys = (
        *SMALL, f"model.unet.photo={photo}", "model.unet.residual=false", "model.unet.frozen=true",
        f"model.init_from={first}",
    )  # fmt: skip
    module = MagicFaceModule(recipes.load("magicface/tiny", keys))
    start = load(first).editor
    given = inputs()
    with torch.no_grad():
        # What is added starts at nothing, so it says what it said without a photo.
        torch.testing.assert_close(said(module.model, given), said(start, given))
    if photo == "controlnet":
        theirs, own = start.denoiser.state_dict(), module.model.identity.state_dict()
        assert torch.equal(
            own["mid_block.resnets.0.conv1.weight"], theirs["mid_block.resnets.0.conv1.weight"]
        )
        assert torch.equal(own["conv_in.weight"], theirs["conv_in.weight"])
    learning = {id(one) for group in module.param_groups() for one in group["params"]}
    assert not learning & {id(one) for one in module.model.denoiser.parameters()}
    assert {id(one) for one in module.model.identity.parameters()} <= learning


def test_frozen_from_nothing_and_forms_that_no_release_has_are_refused(tmp_path: Path, mien: Mien) -> None:
    with pytest.raises(RecipeError, match=r"frozen needs init_from"):
        recipes.load("magicface/tiny", [*SMALL, "model.unet.frozen=true"])
    run = RunFolder(untrained(tmp_path, "magicface/tiny", *SMALL, "model.unet.photo=controlnet"))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(RunError, match=r"no photo by controlnet.*attention"):
        write(run, "last", out)
    assert not list(out.iterdir())
    code, _, told = mien("export", run.path, "--to", "diffusers", tmp_path / "other")
    assert code == 2
    assert "no photo by controlnet" in told
