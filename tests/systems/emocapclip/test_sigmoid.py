"""The sigmoid loss at every level: open_clip's SigLIP, multi-positives, what a recipe may say."""

from __future__ import annotations

import math

import pytest
import torch
from emocap_batches import batch_of, module_of
from open_clip.loss import SigLipLoss
from pydantic import ValidationError

from mien.systems.emocapclip.config import LocalConfig, ObjectiveConfig
from mien.systems.emocapclip.samples import Captions

GLOBAL = {"global_weight": 1.0, "summary_weight": 0.0}


def clean(size):
    """A batch without gaps, groups or repeated texts."""
    batch = batch_of(size)
    for key in ("valid", "has_g", "has_s", "mask_l"):
        batch[key][:] = True
    batch["grp"][:] = -1
    batch["tok_g"][5, 1] += 1
    return batch


@pytest.mark.parametrize("backend", ["dense", "chunked"])
def test_loss_and_gradients_equal_open_clip(backend):
    module, batch = module_of(branch="none", loss="sigmoid", bias=-3, backend=backend, **GLOBAL), clean(8)
    module.double()
    encoded = module.encode(batch)
    loss, logs = module.objective(encoded, batch, 0)
    model = module.model
    theirs = SigLipLoss()(encoded.image, encoded.global_, model.log_scale.exp(), model.logit_bias)
    assert loss.item() == pytest.approx(theirs.item(), abs=1e-12)
    assert logs["bias"] == -3
    weights = [p for p in module.parameters() if p.requires_grad]
    for one, other in zip(
        torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True),
        torch.autograd.grad(theirs, weights, allow_unused=True),
        strict=True,
    ):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-11, rtol=1e-8)


def test_scale_and_bias_start_where_siglip_does_and_are_learned():
    model = module_of(branch="none", loss="sigmoid", **GLOBAL).model
    assert model.log_scale.item() == pytest.approx(math.log(10))
    assert model.logit_bias.item() == -10
    assert model.logit_bias.shape == (1,)
    assert model.logit_bias.requires_grad
    assert model.local_logit_bias is None


def test_softmax_has_the_weights_it_always_had():
    names = dict(module_of().model.named_parameters())
    assert not any(("bias" in name and "logit" in name) or name.startswith("pool") for name in names)


def test_sentences_of_an_image_are_all_its_positives():
    module, batch = module_of(branch="none", loss="sigmoid", sentences_weight=1.0, global_weight=0.0,
                              summary_weight=0.0), clean(8)  # fmt: skip
    module.double()
    batch["tok_l"][4, 0, 1] += 1
    encoded = module.encode(batch)
    loss, _ = module.objective(encoded, batch, 0)
    flat, total = encoded.local.flatten(0, 1), 0.0
    for row, text in enumerate(flat):
        for i, image in enumerate(encoded.image):
            said = any(bool((batch["tok_l"].flatten(0, 1)[row] == own).all()) for own in batch["tok_l"][i])
            z = float((encoded.log_scale.exp() * (image @ text) + encoded.bias).detach())
            if row // 3 == i:
                total += math.log1p(math.exp(-z))
            elif not said:
                total += math.log1p(math.exp(z))
    assert loss.item() == pytest.approx(total / len(flat), abs=1e-10)


def test_softmax_over_drawn_sentences_beside_groups_is_v0_plus_v1():
    batch, nothing = batch_of(8), {"global_weight": 0.0, "summary_weight": 0.0}
    both = module_of(branch="group", sentences_weight=1.0, **nothing).double().loss(batch, 0)[1]
    v0 = module_of(branch="cls", **nothing).double().loss(batch, 0)[1]
    v1 = module_of(branch="group", **nothing).double().loss(batch, 0)[1]
    assert both["loss_sentences"].item() == pytest.approx(v0["loss_local"].item(), abs=1e-12)
    assert both["loss_local"].item() == pytest.approx(v1["loss_local"].item(), abs=1e-12)


def test_retrieval_is_logged_when_no_level_reads_whole_captions():
    module = module_of(branch="attn", loss="sigmoid", global_weight=0.0, summary_weight=0.0)
    logs = module.validation_logs(batch_of(9), 0)
    text = module.model.read(batch_of(9)["tok_g"])
    image = module.model.see(batch_of(9)["img"], False)[0]
    live = [i for i in range(9) if i not in (0, 8)]
    best = (image[live] @ text[live].T).argmax(1)
    keys = batch_of(9)["tok_g"][live]
    right = [bool((keys[b] == keys[i]).all()) for i, b in enumerate(best.tolist())]
    assert float(logs["r1_text"]) == pytest.approx(sum(right) / len(live))


def test_a_whole_caption_is_drawn_from_in_its_order():
    captions = Captions("first", None, (("second", "eyes"), ("third", "mouth")))
    assert captions.sentences == (("first", "other"), ("second", "eyes"), ("third", "mouth"))
    whole = Captions("a", "z", ())
    assert whole.sentences == (("a", "other"), ("z", "other"))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"loss": "sigmoid", "form": "in"}, "form in shares a softmax"),
        ({"bias": -10}, "bias is for loss sigmoid"),
        ({"local": {"bias": -10}}, "local.bias is for loss sigmoid or local.branch attn"),
        ({"local": {"branch": "group", "negatives": 4}}, "negatives is for branch attn"),
        ({"loss": "hinge"}, "'softmax' or 'sigmoid'"),
        ({"loss": "sigmoid", "bias": 500}, "less than or equal to 100"),
    ],
)
def test_what_does_not_fit_is_explained(keys, message):
    with pytest.raises(ValidationError, match=message):
        ObjectiveConfig.model_validate(keys)


def test_attention_may_have_a_bias_beside_a_softmax():
    local = LocalConfig(branch="attn", bias=-5, negatives=3)
    assert ObjectiveConfig(local=local).local_sigmoid
