"""Towers: exact cropping, patch tokens, weights from files, and what a bad file is answered with."""

from __future__ import annotations

import pytest
import torch
from emocap_batches import SMALL, batch_of, module_of
from safetensors.torch import save_file

from mien.errors import RunError
from mien.systems.emocapclip.config import LocalConfig, ModelConfig, ObjectiveConfig
from mien.systems.emocapclip.load import EmoCapEncoder, start_from
from mien.systems.emocapclip.local import region_masks
from mien.systems.emocapclip.model import EmoCapCLIP
from mien.systems.emocapclip.rows import unit
from mien.systems.emocapclip.towers import OpenClipImage, TextTower, build_towers
from mien.systems.emocapclip.weights import load_open_clip
from mien.systems.weights import load_strictly, read_state

CLIP = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


@pytest.fixture
def shrunken(monkeypatch):
    """open_clip with a ViT-B-32 of two narrow layers: everything but the size is the real path."""
    from copy import deepcopy

    from open_clip import factory

    monkeypatch.setattr(factory, "get_model_config", lambda name: deepcopy(CLIP))


def uncropped(text, tokens):
    """open_clip's own forward pass over all 77 tokens."""
    return text(tokens.long())


@pytest.mark.parametrize("repeat", [1, 40])
def test_cropped_and_deduplicated_text_equals_open_clip(shrunken, repeat):
    clip, _ = load_open_clip("ViT-B-32", None, 32)
    batch = batch_of(9)
    tokens = torch.cat([batch["tok_g"], batch["tok_s"], batch["tok_l"].flatten(0, 1)]).repeat(repeat, 1)
    tower = TextTower(clip.text).double()
    assert tower.croppable
    reference = uncropped(clip.text, tokens)
    torch.testing.assert_close(tower(tokens), reference, atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(tower.float()(tokens), reference.float(), atol=1e-5, rtol=1e-4)


def test_cropped_text_has_the_gradient_of_the_uncropped(shrunken):
    clip, _ = load_open_clip("ViT-B-32", None, 32)
    tower, tokens = TextTower(clip.text).double(), batch_of(9)["tok_g"]
    weight = torch.randn(len(tokens), 24, dtype=torch.float64)
    gradients = []
    for encode in (tower, lambda t: uncropped(clip.text, t)):
        clip.zero_grad()
        (encode(tokens) * weight).sum().backward()
        gradients.append([p.grad.clone() for p in clip.text.parameters()])
    for one, other in zip(*gradients):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-8)


def test_open_clip_tower_hands_out_patches_and_its_own_embedding(shrunken):
    clip, _ = load_open_clip("ViT-B-32", None, 32)
    images = torch.randn(2, 3, 32, 32)
    seen = OpenClipImage(clip.visual)(images)
    torch.testing.assert_close(seen.embedding, clip.encode_image(images))
    assert seen.patches.shape == (2, 16, 32)


def test_patch_head_starts_as_a_copy_of_the_cls_head(shrunken):
    model = EmoCapCLIP(ModelConfig(tower="ViT-B-32-quickgelu", image_size=32), ObjectiveConfig())
    visual = model.image.visual
    patches = torch.randn(2, 16, 32)
    expected = unit(visual.ln_post(patches) @ visual.proj)
    torch.testing.assert_close(model.project(patches), expected)
    assert model.local_projection.weight.data_ptr() != visual.proj.data_ptr()


def test_every_shape_of_tower_gives_patches():
    """A ResNet of open_clip has no post-norm: the patch head is made from the shape of its map."""
    from open_clip.modified_resnet import ModifiedResNet

    visual = ModifiedResNet([1, 1, 1, 1], output_dim=16, heads=4, image_size=64, width=8)
    seen = OpenClipImage(visual)(torch.randn(2, 3, 64, 64))
    assert seen.embedding.shape == (2, 16)
    assert seen.patches.shape[:2] == (2, 4)
    assert OpenClipImage(visual).head()[1] is None


def test_b32_has_its_published_shape():
    import open_clip

    with torch.device("meta"):
        clip = open_clip.CustomTextCLIP(**open_clip.get_model_config("ViT-B-32-quickgelu"))
        seen = OpenClipImage(clip.visual)(torch.zeros(1, 3, 224, 224))
    assert seen.patches.shape == (1, 49, 768)
    assert seen.embedding.shape == (1, 512)
    assert sum(p.numel() for p in clip.parameters()) == 151_277_313


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_local_weights_are_loaded_strictly(shrunken, tmp_path, suffix):
    source, _ = load_open_clip("ViT-B-32", None, 32)
    with torch.no_grad():
        source.logit_scale.fill_(3.0)
    path = tmp_path / f"clip.{suffix}"
    state = {name: value.contiguous() for name, value in source.state_dict().items()}
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    towers = build_towers(ModelConfig(tower="ViT-B-32-quickgelu", weights=str(path), image_size=32))
    assert float(towers.log_scale) == 3.0
    for name, value in source.visual.state_dict().items():
        assert torch.equal(towers.image.visual.state_dict()[name], value)


def test_weights_that_do_not_fit_name_the_tower(shrunken, tmp_path):
    save_file({"visual.proj": torch.zeros(3, 3)}, tmp_path / "clip.safetensors")
    with pytest.raises(RunError, match="do not fit ViT-B-32"):
        load_open_clip("ViT-B-32", str(tmp_path / "clip.safetensors"), 32)


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_unsafe_and_damaged_files_are_refused(tmp_path, capsys):
    torch.save({"a": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "torn.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{")
    (tmp_path / "torn.pt").write_bytes(b"PK\x03\x04 cut")
    torch.save({"a": 3}, tmp_path / "numbers.pt")
    for name in ("evil.pt", "torn.safetensors", "torn.pt", "numbers.pt", "absent.pt"):
        with pytest.raises(RunError, match=name):
            read_state(tmp_path / name)
    assert "run" not in capsys.readouterr().out


def test_strict_loading_says_what_differs():
    layer = torch.nn.Linear(2, 3)
    with pytest.raises(RunError, match=r"'bias'; nearest in the file: 'bias_'"):
        load_strictly(layer, {"weight": torch.zeros(3, 2), "bias_": torch.zeros(3)}, "here")
    with pytest.raises(RunError, match=r"'weight' has shape \[2, 2\], the model \[3, 2\]"):
        load_strictly(layer, {"weight": torch.zeros(2, 2), "bias": torch.zeros(3)}, "here")


def test_a_model_starts_from_an_exported_file(tmp_path):
    source = module_of(seed=1).model
    save_file({n: v.contiguous() for n, v in source.state_dict().items()}, tmp_path / "model.safetensors")
    target = module_of(seed=2).model
    start_from(target, str(tmp_path / "model.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters()))
    with pytest.raises(RunError, match="nothing to start from"):
        start_from(target, str(tmp_path / "absent"))


def test_encoder_is_unit_float32_and_takes_any_size():
    encoder = EmoCapEncoder(module_of().model, 32, patches=True)
    images = torch.randint(0, 256, (3, 3, 47, 61), dtype=torch.uint8)
    texts = ["a smile", "raised brows", "a smile"]
    vectors, sentences = encoder.encode_images(images), encoder.encode_texts(texts)
    assert vectors.dtype == sentences.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(sentences[0], sentences[2])
    maps = encoder.patch_maps(images, texts)
    assert maps.shape == (3, 4, 4)
    with pytest.raises(ValueError, match="one text an image"):
        encoder.patch_maps(images, texts[:2])


def test_patch_maps_fall_back_to_the_cls_head_when_patches_were_not_trained():
    model = module_of(branch="none").model
    with torch.no_grad():
        model.local_projection.weight.zero_()
    encoder = EmoCapEncoder(model, 32, patches=False)
    assert encoder.patch_maps(batch_of(9)["img"], ["a smile"] * 9).std() > 0


def test_tiny_does_not_know_how_large_its_batch_is():
    """No batch statistics: an image has the same embedding alone and in company."""
    model, images = module_of().model.double(), batch_of(9)["img"]
    together = model.see(images, patches=True)
    alone = [model.see(images[i : i + 1], patches=True) for i in range(len(images))]
    for part in range(2):
        torch.testing.assert_close(
            torch.cat([one[part] for one in alone]), together[part], atol=1e-12, rtol=1e-9
        )


def test_tiny_size():
    count = sum(p.numel() for p in EmoCapCLIP(ModelConfig(image_size=64), ObjectiveConfig()).parameters())
    assert 2e6 < count < 8e6


def test_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        module = module_of(model=SMALL.model_copy(update={"checkpointing": checkpointing}))
        module.loss(batch_of(9), 0)[0].backward()
        gradients.append([p.grad for p in module.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_region_masks_lie_where_the_face_is():
    landmarks = torch.tensor([[[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]])
    masks = region_masks(torch.cat([landmarks, torch.full((1, 5, 2), torch.nan)]), 16)
    torch.testing.assert_close(masks.sum(-1), torch.ones(2, 10))
    from mien.faces.actions import REGIONS

    ticks = (torch.arange(16) + 0.5) / 16
    height = (masks.unflatten(-1, (16, 16)).sum(-1) * ticks).sum(-1)[0]
    order = [REGIONS.index(name) for name in ("forehead", "brows", "eyes", "nose", "mouth", "jaw_chin")]
    assert height[order].diff().min() > 0.02
    mouth = masks[0, REGIONS.index("mouth")].unflatten(-1, (16, 16))
    assert abs(float((mouth.sum(-1) * ticks).sum()) - 0.8) < 0.05
    assert masks[0, REGIONS.index("other")].std() == 0


def test_region_masks_turn_with_the_face():
    points = torch.tensor([[[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]])
    turned = torch.stack([points[..., 1], 1 - points[..., 0]], -1)  # a quarter turn of the image
    straight = region_masks(points, 16).unflatten(-1, (16, 16))
    rotated = region_masks(turned, 16).unflatten(-1, (16, 16))
    torch.testing.assert_close(torch.rot90(straight, 1, (-2, -1)), rotated, atol=1e-6, rtol=1e-4)


def test_unit_of_zero_is_finite():
    zero = torch.zeros(2, 3, requires_grad=True)
    unit(zero).sum().backward()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()


def test_local_config_says_what_it_needs():
    assert not LocalConfig(branch="cls").patches
    assert LocalConfig(branch="region").patches
    assert not LocalConfig(weight=0).active
