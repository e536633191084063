"""Reference attention against the form that the papers write, and what a network costs at full width."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mien.systems.editing.config import ConditionConfig, UNetConfig
from mien.systems.editing.model import Editor
from mien.systems.editing.published import PublishedEditor
from mien.systems.editing.reference import blocks, capture
from mien.systems.editing.unets import identity_unet, is_tail

SMALL = UNetConfig(channels=(32, 32, 64, 64), groups=8, heads=4, prompt_width=32, layers=1)
VECTOR = ConditionConfig(width=12)


@pytest.fixture
def editor() -> Editor:
    torch.manual_seed(0)
    made = Editor(SMALL, VECTOR, torch.randn(1, 5, 32)).double()
    with torch.no_grad():  # what starts at zero would hide mistakes
        for parameter in made.denoiser.class_embedding.parameters():
            parameter.normal_()
        made.denoiser.conv_in.weight.normal_(std=0.1)
    return made


def inputs(batch: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return {
        "noisy": draw(batch, 4, 8, 8), "maps": draw(batch, 4, 8, 8), "vector": draw(batch, 12),
        "step": torch.tensor([999, 500, 1][:batch]),
    }  # fmt: skip


def published(editor: Editor, photos: Tensor, unet: UNetConfig = SMALL) -> PublishedEditor:
    made = PublishedEditor(editor, unet).to(editor.prompt.device, editor.prompt.dtype)
    made.features(photos)
    return made


def test_trimmed_queries_equal_the_published_block(editor: Editor) -> None:
    given = inputs(3)
    photos = torch.randn(3, 4, 8, 8, dtype=torch.float64)
    ours = editor.noise(**given, bank=editor.features(photos))
    torch.testing.assert_close(ours, published(editor, photos).noise(**given), rtol=0, atol=1e-12)


def test_gradients_equal_those_of_the_published_block(editor: Editor) -> None:
    given, photos = inputs(), torch.randn(2, 4, 8, 8, dtype=torch.float64)
    naive = published(editor, photos)
    editor.noise(**given, bank=editor.features(photos)).square().sum().backward()
    naive.noise(**given).square().sum().backward()
    want = dict(naive.identity.named_parameters())
    for name, parameter in editor.identity.named_parameters():
        torch.testing.assert_close(parameter.grad, want[name].grad, rtol=1e-9, atol=1e-12)
    assert [name for name, p in want.items() if p.grad is None] == [n for n in want if is_tail(n, SMALL)]


def test_kept_keys_and_prompt_change_nothing(editor: Editor) -> None:
    given, photo = inputs(), torch.randn(1, 4, 8, 8, dtype=torch.float64)
    bank, prompt = editor.kept(photo)
    assert not bank.states
    want = editor.noise(**given, bank=editor.features(photo.expand(2, -1, -1, -1)))
    torch.testing.assert_close(editor.noise(**given, bank=bank, prompt=prompt), want, rtol=0, atol=1e-12)


def test_another_photo_changes_the_prediction(editor: Editor) -> None:
    given = inputs()
    one, other = (
        editor.noise(**given, bank=editor.features(torch.randn(2, 4, 8, 8, dtype=torch.float64)))
        for _ in range(2)
    )
    assert (one - other).abs().max() > 1e-3


def test_two_banks_live_side_by_side(editor: Editor) -> None:
    given = inputs()
    first, second = (torch.randn(2, 4, 8, 8, dtype=torch.float64) for _ in range(2))
    bank = editor.features(first)
    editor.features(second)
    torch.testing.assert_close(
        editor.noise(**given, bank=bank), editor.noise(**given, bank=editor.features(first)), rtol=0, atol=0
    )


def test_the_tail_is_off_and_features_stay(editor: Editor) -> None:
    torch.manual_seed(0)
    whole = UNet2DConditionModel(**SMALL.arguments()).double()
    trimmed = identity_unet(SMALL).double()
    state = whole.state_dict()
    kept = {name: value for name, value in state.items() if not is_tail(name, SMALL)}
    trimmed.load_state_dict(kept, strict=True)
    photos, prompt = torch.randn(1, 4, 8, 8, dtype=torch.float64), torch.randn(1, 5, 32, dtype=torch.float64)
    one, other = capture(whole, photos, prompt).states, capture(trimmed, photos, prompt).states
    assert list(one) == list(other)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert len(state) - len(kept) == 26


def test_every_parameter_gets_a_gradient(editor: Editor) -> None:
    bank = editor.features(torch.randn(2, 4, 8, 8, dtype=torch.float64))
    editor.noise(**inputs(), bank=bank).square().sum().backward()
    assert [name for name, p in editor.named_parameters() if p.grad is None] == []


def test_recomputed_activations_give_the_same_bits(editor: Editor) -> None:
    photos, found = torch.randn(2, 4, 8, 8, dtype=torch.float64), []
    for checkpointing in (False, True):
        for unet in (editor.identity, editor.denoiser):
            unet.enable_gradient_checkpointing() if checkpointing else unet.disable_gradient_checkpointing()
        editor.train().zero_grad()
        editor.noise(**inputs(), bank=editor.features(photos)).square().sum().backward()
        found.append([p.grad.clone() for p in editor.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("injection", ["linear", "pad", "channel"])
def test_a_new_editor_predicts_what_a_plain_unet_does(injection: str) -> None:
    torch.manual_seed(0)
    plain = UNet2DConditionModel(**SMALL.arguments())
    condition = ConditionConfig(width=12, injection=injection)  # type: ignore[arg-type]
    made = Editor(SMALL, condition, torch.randn(1, 5, 32), side=8)
    missing, unexpected = made.denoiser.load_state_dict(
        {name: value for name, value in plain.state_dict().items() if name != "conv_in.weight"}, strict=False
    )
    assert unexpected == []
    assert set(missing) - {"class_embedding.weight", "class_embedding.bias"} == {"conv_in.weight"}
    with torch.no_grad():
        made.denoiser.conv_in.weight[:, :4] = plain.conv_in.weight
    noisy, step = torch.randn(2, 4, 8, 8), torch.tensor([10, 900])
    vector = torch.zeros(2, 12) if injection == "pad" else torch.randn(2, 12)
    want = plain(noisy, step, made.prompt.expand(2, -1, -1)).sample
    ours = made.noise(noisy, torch.randn(2, 4, 8, 8), step, vector, bank=None)
    torch.testing.assert_close(ours, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("width", "maps", "parameters"), [(12, 1, 859_549_124), (64, 2, 859_627_204)])
def test_sizes_and_cost_at_full_width(width: int, maps: int, parameters: int) -> None:
    """Magicface spec 3 and 7, rigface spec 3: 2 FLOP a multiply-add, a 64 x 64 latent, one sample."""
    with torch.device("meta"):
        editor = Editor(UNetConfig(), ConditionConfig(width=width, maps=maps), torch.zeros(1, 77, 768))
        whole = UNet2DConditionModel(**UNetConfig().arguments())
    assert sum(p.numel() for p in editor.denoiser.parameters()) == parameters
    assert sum(p.numel() for p in editor.identity.parameters()) == 857_065_920
    assert sum(p.numel() for n, p in whole.named_parameters() if is_tail(n, UNetConfig())) == 2_455_044

    latent = torch.zeros(1, 4, 64, 64, device="meta")
    step, prompt = torch.zeros((), dtype=torch.long, device="meta"), torch.zeros(1, 77, 768, device="meta")

    def cost(call: Any) -> tuple[Any, float]:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            return call(), counter.get_total_flops() / 1e9

    maps_of = latent.repeat(1, maps, 1, 1)
    vector = torch.zeros(1, width, device="meta")
    _, stock = cost(lambda: whole(latent, step, prompt))
    bank, features = cost(lambda: editor.features(latent))
    _, trimmed = cost(lambda: editor.noise(latent, maps_of, step, vector, bank))
    kept, _ = editor.kept(latent)
    _, cached = cost(lambda: editor.noise(latent, maps_of, step, vector, kept))
    naive = published(editor, latent, UNetConfig())
    _, doubled = cost(lambda: naive.noise(latent, maps_of, step, vector))
    assert stock == pytest.approx(803, abs=0.5)
    assert features < stock - 35
    assert trimmed == pytest.approx(951, abs=0.6)
    assert cached == pytest.approx(926, abs=0.6)
    assert doubled == pytest.approx(1222, abs=0.6)


def test_processors_name_no_tensor_twice_and_are_copied_with_their_norms(editor: Editor) -> None:
    stock = UNet2DConditionModel(**SMALL.arguments()).state_dict()
    more = {"class_embedding.weight", "class_embedding.bias"}
    assert editor.denoiser.state_dict().keys() == stock.keys() | more
    assert len(list(editor.denoiser.parameters())) == len(stock) + 2
    given, photos = inputs(), torch.randn(2, 4, 8, 8, dtype=torch.float64)
    other = copy.deepcopy(editor)
    want = editor.noise(**given, bank=editor.features(photos))
    with torch.no_grad():
        for _, block in blocks(other.denoiser):
            block.norm1.weight.mul_(3)
    changed = other.noise(**given, bank=editor.features(photos))
    assert (changed - want).abs().max() > 1e-3
    naive = published(other, photos)
    torch.testing.assert_close(changed, naive.noise(**given), rtol=0, atol=1e-12)
    torch.testing.assert_close(editor.noise(**given, bank=editor.features(photos)), want, rtol=0, atol=0)
