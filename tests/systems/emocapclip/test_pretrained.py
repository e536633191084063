"""Published models from files with their own key names, against open_clip's forward pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from published_names import clip_pixels, narrow_clip

from mien.errors import RunError
from mien.systems.emocapclip import pretrained
from mien.systems.emocapclip.baselines import openai
from mien.systems.emocapclip.exports.as_transformers import clip_state
from mien.systems.emocapclip.rows import unit
from mien.systems.emocapclip.tokens import tokenize
from mien.systems.weights import read_state

CPU = torch.device("cpu")


@pytest.fixture
def published(monkeypatch, tmp_path):
    """A narrow CLIP of two layers, and a file of its weights under OpenAI's key names."""
    model = narrow_clip(monkeypatch, openai)
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    return model, tmp_path / "clip.pt"


@pytest.mark.parametrize("name", ["clip", "open_clip:ViT-B-32-quickgelu"])
def test_embeddings_equal_open_clips(published, name):
    model, path = published
    encoder = pretrained.load_pretrained(name, path, CPU)
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    texts = ["a smile", "a face that shows fear"]
    tokens = torch.stack([torch.tensor(tokenize(text)) for text in texts]).long()
    with torch.inference_mode():
        seen = unit(model.encode_image(clip_pixels(images)))
        read = unit(model.encode_text(tokens))
    torch.testing.assert_close(encoder.encode_images(images), seen, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoder.encode_texts(texts), read, atol=1e-5, rtol=1e-4)
    assert encoder.logit_scale == pytest.approx(float(model.logit_scale.detach().exp()))


def test_flip_and_farl_are_clip_under_other_names(published, tmp_path):
    """FLIP as transformers stores it; FaRL as OpenAI does, with parts of its own pretraining."""
    _, path = published
    whole = pretrained.load_pretrained("clip", path, CPU)
    state = torch.load(path, weights_only=True)
    custom = {
        n if n.startswith("visual.") or n == "logit_scale" else f"text.{n}": t for n, t in state.items()
    }
    custom.pop("text.attn_mask", None)
    torch.save(clip_state(custom, "ViT-B-32-quickgelu"), tmp_path / "flip.pt")
    extra = {"visual.mask_embedding": torch.zeros(3), "mlm.head": torch.zeros(2)}
    torch.save({"state_dict": state | extra}, tmp_path / "farl.pt")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    for name in ("flip", "farl"):
        encoder = pretrained.load_pretrained(name, tmp_path / f"{name}.pt", CPU)
        torch.testing.assert_close(encoder.encode_images(images), whole.encode_images(images))
        torch.testing.assert_close(encoder.encode_texts(["a smile"]), whole.encode_texts(["a smile"]))
        assert encoder.logit_scale == pytest.approx(whole.logit_scale)
    visual = {name: tensor for name, tensor in state.items() if name.startswith("visual.")}
    torch.save(visual, tmp_path / "half.pt")
    with pytest.raises(RunError, match=r"half\.pt: \d+ tensors missing"):
        pretrained.load_pretrained("farl", tmp_path / "half.pt", CPU)
    with pytest.raises(RunError, match="not a ViT of OpenAI"):
        pretrained.load_pretrained("flip", path, CPU)


def test_openais_own_archive_may_be_saved_again_as_plain_tensors(published, tmp_path):
    """It is TorchScript, which is refused; its tensors have three numbers among them, and half precision."""
    model, path = published
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "archive.pt")
    with pytest.raises(RunError, match="a TorchScript archive; if you trust it, save its tensors"):
        pretrained.load_pretrained("clip", tmp_path / "archive.pt", CPU)
    numbers = ("input_resolution", "context_length", "vocab_size")
    state = {name: tensor.half() for name, tensor in model.state_dict().items()}
    torch.save(state | {name: torch.tensor(7) for name in numbers}, tmp_path / "again.pt")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    again, whole = (pretrained.load_pretrained("clip", p, CPU) for p in (tmp_path / "again.pt", path))
    torch.testing.assert_close(again.encode_images(images), whole.encode_images(images), atol=0.01, rtol=0.01)


def test_files_are_mapped_where_their_format_allows_it(published, tmp_path):
    model, path = published
    mapped = read_state(path)
    assert str(path) in Path("/proc/self/maps").read_text()
    assert torch.equal(mapped["visual.proj"], model.visual.proj)
    old = tmp_path / "old.pt"
    torch.save(model.state_dict(), old, _use_new_zipfile_serialization=False)
    assert torch.equal(read_state(old)["visual.proj"], model.visual.proj)


def test_a_wrong_file_is_named(published, tmp_path):
    _, path = published
    state = torch.load(path, weights_only=True)
    torch.save({key: value for key, value in state.items() if key != "ln_final.weight"}, tmp_path / "part.pt")
    with pytest.raises(RunError, match=r"ln_final\.weight"):
        pretrained.load_pretrained("clip", tmp_path / "part.pt", CPU)
    torch.save({"visual.conv1.weight": torch.zeros(5, 3, 8, 8)}, tmp_path / "other.pt")
    with pytest.raises(RunError, match="not a ViT of OpenAI"):
        pretrained.load_pretrained("clip", tmp_path / "other.pt", CPU)
    torch.save({"visual.conv1.weight": print}, tmp_path / "code.pt")
    with pytest.raises(RunError, match="read safely"):
        pretrained.load_pretrained("clip", tmp_path / "code.pt", CPU)
    large = torch.zeros(50, 32)  # as of 336 px: not silently resized
    torch.save(state | {"visual.positional_embedding": large}, tmp_path / "large.pt")
    with pytest.raises(RunError, match=r"'visual.positional_embedding' has shape \[50, 32\], the model \[17"):
        pretrained.load_pretrained("clip", tmp_path / "large.pt", CPU)
    with pytest.raises(RunError, match="no published model called 'clap'"):
        pretrained.load_pretrained("clap", path, CPU)
