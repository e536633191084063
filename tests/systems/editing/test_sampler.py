"""Samplers against a denoiser whose answer is known, and what edits of one photo share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mien.systems.editing.config import ConditionConfig, UNetConfig
from mien.systems.editing.model import Editor
from mien.systems.editing.noise import Guidance, NoiseConfig, alphas
from mien.systems.editing.reference import Bank
from mien.systems.editing.sampler import SAMPLERS, SampleConfig, batches, sample

SMALL = UNetConfig(channels=(32, 32, 64, 64), groups=8, heads=4, prompt_width=32, layers=1)
NOISE = NoiseConfig()


class Knows:
    """Predicts the noise that leads to `photo + first number of the vector`; counts its calls."""

    def __init__(self, photo: Tensor) -> None:
        self.photo, self.features, self.passes = photo, 0, 0

    def kept(self, photos: Tensor) -> tuple[Bank, dict[str, Any]]:
        self.features += 1
        return Bank(), {}

    def noise(
        self, noisy: Tensor, maps: Tensor, step: Tensor, vector: Tensor, bank: Any, prompt: Any = None
    ) -> Tensor:
        self.passes += 1
        alpha = alphas(NOISE)[step].float()
        target = self.photo + vector[:, :1, None, None]
        return (noisy - alpha.sqrt() * target) / (1 - alpha).sqrt()


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_arrives(name: str) -> None:
    photo = 4 * torch.rand(1, 4, 8, 8) - 2  # latents are no pixels: nothing may cut them to -1..1
    editor, vectors = Knows(photo), torch.tensor([[0.0], [0.5], [-0.5]])
    config = SampleConfig(sampler=name, steps=20, guidance=Guidance(scale=1))  # type: ignore[arg-type]
    found = sample(editor, photo, photo, vectors, NOISE, config)
    torch.testing.assert_close(found, photo + vectors[:, :, None, None], rtol=0, atol=0.03)
    assert (editor.features, editor.passes) == (1, 20)


class KnowsSample(Knows):
    """Predicts the clean latent, and notes the time steps it is asked at."""

    def noise(
        self, noisy: Tensor, maps: Tensor, step: Tensor, vector: Tensor, bank: Any, prompt: Any = None
    ) -> Tensor:
        self.steps = [*getattr(self, "steps", []), int(step)]
        return (self.photo + vector[:, :1, None, None]).expand_as(noisy)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_stretched_schedule_is_sampled_from_its_very_end(name: str) -> None:
    photo = torch.rand(1, 4, 8, 8) - 0.5
    editor, noise = KnowsSample(photo), NoiseConfig(prediction="sample", zero_snr=True)
    config = SampleConfig(sampler=name, steps=4, guidance=Guidance(scale=1))  # type: ignore[arg-type]
    found = sample(editor, photo, photo, torch.tensor([[0.25]]), noise, config)
    torch.testing.assert_close(found, photo + 0.25, rtol=0, atol=0.02)
    assert editor.steps[0] == 999


def test_guidance_goes_beyond_the_vector() -> None:
    photo = torch.zeros(1, 4, 8, 8)
    config = SampleConfig(steps=20, guidance=Guidance(scale=3))
    found = sample(Knows(photo), photo, photo, torch.tensor([[0.5]]), NOISE, config)
    assert float(found.mean()) == pytest.approx(1.5, abs=0.05)


@pytest.fixture(scope="module")
def editor() -> Editor:
    torch.manual_seed(0)
    made = Editor(SMALL, ConditionConfig(width=12), torch.randn(1, 5, 32)).eval()
    with torch.no_grad():
        made.denoiser.class_embedding.weight.normal_(std=0.5)
    return made


def test_batches_and_kept_features_change_nothing_but_time(editor: Editor) -> None:
    photo, vectors = torch.randn(1, 4, 8, 8), torch.randn(5, 12)
    told: list[int] = []
    one = sample(editor, photo, photo, vectors, NOISE, SampleConfig(steps=4, batch=5))
    two = sample(editor, photo, photo, vectors, NOISE, SampleConfig(steps=4, batch=2), told.append)
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)
    assert len(told) == 4 * batches(5, 2) == 12
    again = sample(editor, photo, photo, vectors, NOISE, SampleConfig(steps=4, batch=5))
    assert torch.equal(one, again)
    other = sample(editor, photo, photo, vectors, NOISE, SampleConfig(steps=4, batch=5, seed=1))
    assert not torch.allclose(one, other, atol=1e-2)


def test_a_zero_edit_is_not_guided(editor: Editor) -> None:
    photo, nothing = torch.randn(1, 4, 8, 8), torch.zeros(1, 12)
    found = [
        sample(editor, photo, photo, nothing, NOISE, SampleConfig(steps=3, guidance=Guidance(scale=scale)))
        for scale in (1.0, 7.0)
    ]
    assert torch.equal(*found)


def test_each_edit_may_have_its_own_maps(editor: Editor) -> None:
    photo, maps = torch.randn(1, 4, 8, 8), torch.randn(3, 4, 8, 8)
    vectors, config = torch.randn(3, 12), SampleConfig(steps=2, batch=2)
    with torch.no_grad():
        editor.denoiser.conv_in.weight[:, 4:].normal_(std=0.1)
    together = sample(editor, photo, maps, vectors, NOISE, config)
    alone = [sample(editor, photo, maps[i : i + 1], vectors[i : i + 1], NOISE, config) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-3, atol=1e-3)
