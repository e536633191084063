"""Exp-CLIP: names, the product with its matrix, and what files that are not a pair are answered with."""

from __future__ import annotations

import pytest
import torch
from published_names import B16, B32, L14, NARROW, clip_pixels, clip_shapes, narrow_clip

from mien.errors import RunError
from mien.evaluation.suite.subject import open_subject
from mien.systems.emocapclip.baselines import expclip, openai
from mien.systems.emocapclip.pretrained import load_pretrained
from mien.systems.emocapclip.rows import unit
from mien.systems.emocapclip.tokens import tokenize

CPU = torch.device("cpu")


@pytest.fixture
def pair(monkeypatch, tmp_path):
    """A narrow CLIP, W [4096, 24], and a folder with their files."""
    model = narrow_clip(monkeypatch, openai)
    matrix = torch.nn.Linear(24, 4096, bias=False).weight.detach()
    torch.save({"mlp.weight": matrix}, tmp_path / "head.pth")
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    return model, matrix, tmp_path


@pytest.mark.parametrize("sizes", [B32, B16, L14, NARROW])
def test_names_and_shapes_of_the_full_size(sizes, monkeypatch):
    if sizes is NARROW:
        narrow_clip(monkeypatch, openai)
    written = clip_shapes(sizes)
    tower = openai.TOWERS[written["visual.conv1.weight"]]
    with torch.device("meta"):
        model = openai.empty(tower)
        head = torch.empty(4096, sizes.embed)
    assert {name: tuple(shape) for name, shape in openai.shapes(model).items()} == written
    assert expclip.head_of({"mlp.weight": head}, model, "head.pth") is head
    other = torch.empty(4096, sizes.embed + 256, device="meta")
    with pytest.raises(RunError, match=rf"'mlp.weight' has shape .*, the model \[4096, {sizes.embed}\]"):
        expclip.head_of({"mlp.weight": other}, model, "head.pth")


def test_images_and_texts_are_multiplied_with_the_matrix(pair):
    model, matrix, folder = pair
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    texts = ["a smile", "an expression of fear."]
    tokens = torch.stack([torch.tensor(tokenize(text)) for text in texts]).long()
    with torch.inference_mode():
        seen = model.encode_image(clip_pixels(images)).double() @ matrix.double().T
        raw = model.encode_image(images / 255).double() @ matrix.double().T
        read = model.encode_text(tokens).double() @ matrix.double().T
    for said in (f"{folder / 'head.pth'},{folder / 'clip.pt'}", folder):
        encoder = load_pretrained("expclip", said, CPU)
        close = {"atol": 1e-5, "rtol": 1e-4}
        torch.testing.assert_close(encoder.encode_images(images), unit(seen).float(), **close)
        torch.testing.assert_close(encoder.encode_texts(texts), unit(read).float(), **close)
        # a clip is the mean of its frames before they are scaled to length 1
        clip = encoder.image_features(images, normalise=False).mean(0)
        torch.testing.assert_close(clip, raw.mean(0).float(), **close)
        assert encoder.encode_images(images).shape == (5, 4096)
        assert encoder.logit_scale == pytest.approx(float(model.logit_scale.detach().exp()))


def test_patches_are_multiplied_too(pair):
    _, matrix, folder = pair
    images, texts = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), ["a smile", "a frown"]
    clip, ours = load_pretrained("clip", folder / "clip.pt", CPU), load_pretrained("expclip", folder, CPU)
    with torch.inference_mode():
        seen = clip._head(clip.model.image(clip.model.normalise(images)).patches)
        found = unit(seen @ matrix.T)
        maps = torch.einsum("bpd,bd->bp", found, unit(clip.encode_texts(texts) @ matrix.T))
    torch.testing.assert_close(ours.patch_maps(images, texts).flatten(1), maps, atol=1e-5, rtol=1e-4)
    heat = ours.heat_maps(images, ours.encode_texts(texts), "gradient")
    assert heat.shape == (2, 4, 4)
    assert (heat > 0).all()


def test_a_subject_is_known_by_both_files(pair):
    _, matrix, folder = pair
    said = f"expclip:{folder / 'head.pth'},{folder / 'clip.pt'}"
    first = open_subject(said)
    assert (first.name, open_subject(f"expclip:{folder}").fingerprint) == ("expclip", first.fingerprint)
    torch.save({"mlp.weight": matrix * 2}, folder / "head.pth")
    second = open_subject(said).fingerprint
    clip = torch.load(folder / "clip.pt", weights_only=True)
    torch.save(clip | {"logit_scale": torch.tensor(1.0)}, folder / "clip.pt")
    assert len({first.fingerprint, second, open_subject(said).fingerprint}) == 3


FAULTS = {
    "{head}": "Exp-CLIP takes two files; write expclip:HEAD.pth,CLIP.pt",
    "{head},{head}": "head.pth: holds 'mlp.weight': this is the head, not CLIP",
    "{clip},{head}": "head.pth: holds 'mlp.weight': this is the head, not CLIP",
    "{clip},{clip}": "clip.pt: 1 tensors missing, .* unknown, first 'mlp.weight'",
    "{head},{folder}/absent.pt": "absent.pt: no such weights",
    "{head},{more}": "more.pt: no 'visual.conv1.weight': not a ViT of OpenAI's CLIP; write expclip:HEAD.pth",
    "{folder}/absent": "Exp-CLIP takes two files",
    "{wide},{clip}": r"wide.pth: 'mlp.weight' has shape \[4096, 23\], the model \[4096, 24\]",
    "{bias},{clip}": "bias.pth: 0 tensors missing, 1 unknown, first 'mlp.bias'",
    "{head},{part}": "part.pt: 1 tensors missing, 0 unknown, first 'ln_final.weight'",
    "{folder}": "6 weights files instead of two",
    "{folder}/heads": "2 files instead of one hold 'mlp.weight'",
}


@pytest.mark.parametrize("said", FAULTS)
def test_files_that_are_not_a_pair_are_named_in_one_line(pair, said):
    model, matrix, folder = pair
    state = model.state_dict()
    made = {
        "wide.pth": {"mlp.weight": torch.zeros(4096, 23)},
        "bias.pth": {"mlp.weight": matrix, "mlp.bias": torch.zeros(4096)},
        "part.pt": {name: tensor for name, tensor in state.items() if name != "ln_final.weight"},
        "more.pt": {"x": matrix},
        "heads/a.pt": {"mlp.weight": matrix},
        "heads/b.pt": {"mlp.weight": matrix},
    }
    (folder / "heads").mkdir()
    for name, tensors in made.items():
        torch.save(tensors, folder / name)
    paths = {name.split(".")[0]: folder / name for name in ("head.pth", "clip.pt", *made)}
    path = said.format(**{k: v for k, v in paths.items() if "/" not in k}, folder=folder)
    with pytest.raises(RunError, match=FAULTS[said]) as caught:
        load_pretrained("expclip", path, CPU)
    assert "\n" not in str(caught.value)
