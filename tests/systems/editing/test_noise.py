"""The noise schedule against diffusers', draws that depend on sample and step alone, the loss, guidance."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from pydantic import ValidationError

from mien.systems.editing.noise import (
    STEPS,
    Guidance,
    NoiseConfig,
    alphas,
    draw,
    error,
    guided,
    noised,
    weights,
)

SHAPE = (4, 8, 8)
PLAIN = NoiseConfig()


def test_schedule_is_that_of_stable_diffusion() -> None:
    theirs = DDPMScheduler(STEPS, 0.00085, 0.012, "scaled_linear")
    ours = alphas(PLAIN)
    torch.testing.assert_close(ours.float(), theirs.alphas_cumprod, rtol=1e-5, atol=1e-7)
    assert float(ours[-1] / (1 - ours[-1])) == pytest.approx(0.00468, rel=0.01)  # not zero: spec 4
    clean, noise, step = torch.randn(3, *SHAPE), torch.randn(3, *SHAPE), torch.tensor([0, 400, 999])
    torch.testing.assert_close(
        noised(clean, noise, ours[step]), theirs.add_noise(clean, noise, step), rtol=1e-4, atol=1e-5
    )


def test_a_stretched_schedule_ends_in_nothing_and_is_the_samplers_own() -> None:
    ours = alphas(NoiseConfig(prediction="sample", zero_snr=True))
    theirs = DDIMScheduler(STEPS, 0.00085, 0.012, "scaled_linear", rescale_betas_zero_snr=True)
    torch.testing.assert_close(ours.float(), theirs.alphas_cumprod, rtol=1e-3, atol=1e-6)
    assert float(ours[-1]) == 0
    assert float(ours[0]) == pytest.approx(float(alphas(PLAIN)[0]), rel=1e-9)
    with pytest.raises(ValidationError, match="zero_snr needs prediction v or sample"):
        NoiseConfig(zero_snr=True)


def test_late_steps_are_more_and_still_of_all_kinds() -> None:
    steps = draw(NoiseConfig(late=3), 0, 0, range(4000), (1, 2, 2)).step
    assert float(steps.double().mean()) == pytest.approx(749.5, abs=10)  # 3 / 4 of 1000
    assert float((steps > 794).float().mean()) == pytest.approx(0.5, abs=0.03)
    assert int(steps.min()) < 200
    assert int(steps.max()) <= 999


def test_a_draw_depends_on_seed_step_and_sample_alone() -> None:
    one = draw(PLAIN, 0, 7, [5, 6, 7], SHAPE)
    other = draw(PLAIN, 0, 7, [7, 5], SHAPE)
    assert torch.equal(one.noise[2], other.noise[0])
    assert torch.equal(one.step[0], other.step[1])
    for different in (draw(PLAIN, 1, 7, [5], SHAPE), draw(PLAIN, 0, 8, [5], SHAPE)):
        assert not torch.equal(one.noise[:1], different.noise)


def test_draws_have_the_distributions_asked_for() -> None:
    many = draw(NoiseConfig(drop=0.1, offset=0.5), 0, 0, range(4000), (2, 3, 3))
    assert float(many.keep.float().mean()) == pytest.approx(0.9, abs=0.02)
    assert float(many.step.float().mean()) == pytest.approx(499.5, abs=20)
    assert int(many.step.min()) < 10 < 990 < int(many.step.max())
    assert float(many.noise.var()) == pytest.approx(1.25, abs=0.05)
    assert float(many.noise.mean((2, 3)).var()) == pytest.approx(0.25 + 1 / 9, abs=0.03)


def test_min_snr_weights_fall_where_there_is_little_noise() -> None:
    alpha = alphas(PLAIN)
    found = weights(NoiseConfig(min_snr=5.0), alpha)
    snr = alpha / (1 - alpha)
    torch.testing.assert_close(found, torch.minimum(snr, torch.tensor(5.0)) / snr)
    assert float(found[0]) < 0.01
    assert float(found[-1]) == 1
    assert bool((weights(PLAIN, alpha) == 1).all())


def test_error_is_the_mean_over_valid_samples() -> None:
    predicted, noise = torch.randn(3, *SHAPE), torch.randn(3, *SHAPE)
    valid, weight = torch.tensor([True, False, True]), torch.tensor([1.0, 9.0, 0.5])
    each = (predicted - noise).square().mean((1, 2, 3))
    want = (each[0] + 0.5 * each[2]) / 2
    torch.testing.assert_close(error(predicted, noise, weight, valid), want)
    nothing = error(predicted.requires_grad_(), noise, weight, torch.zeros(3, dtype=torch.bool))
    assert float(nothing.detach()) == 0
    nothing.backward()
    assert float(predicted.grad.abs().sum()) == 0  # type: ignore[union-attr]


def test_guidance_counts_passes_and_meets_its_formula() -> None:
    passes = []

    def predict(vector: torch.Tensor) -> torch.Tensor:
        passes.append(vector)
        return vector.sum(1) + 1

    vector = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    assert guided(predict, vector, 1.0).tolist() == [4.0, 0.0]
    assert guided(predict, torch.zeros(2, 2), 3.0).tolist() == [1.0, 1.0]
    assert len(passes) == 2
    assert guided(predict, vector, 3.0).tolist() == [10.0, -2.0]
    assert len(passes) == 4


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (Guidance(scale=3), [3, 3, 3]),
        (Guidance(scale=3, start=0.25, stop=0.75), [1, 3, 1]),
        (Guidance(scale=3, shape="cosine"), [1, 3, 1]),
    ],
    ids=["constant", "interval", "cosine"],
)
def test_guidance_schedule(config: Guidance, wanted: list[float]) -> None:
    assert [config.at(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx(wanted)
