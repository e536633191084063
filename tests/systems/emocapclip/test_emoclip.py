"""EmoCLIP: names, its transformer against torch's own, clips in the suite, and files that do not fit."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from published_names import B32, NARROW, clip_pixels, emoclip_shapes, narrow_clip, random_state
from torch.nn import functional as F

from mien.errors import MienError, RunError
from mien.evaluation.suite.embed import Embedder
from mien.systems.emocapclip.baselines import emoclip, openai, temporal
from mien.systems.emocapclip.pretrained import load_pretrained
from mien.systems.emocapclip.rows import unit

CPU = torch.device("cpu")
CLOSE = {"atol": 1e-5, "rtol": 1e-4}
LAYER = "temporal.temporal_transformer.layers.{}."
FRAMES = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def file_of(monkeypatch, tmp_path):
    """Make an EmoCLIP file around a narrow CLIP: (sizes of the transformer) -> (CLIP, tensors, path)."""
    clip = narrow_clip(monkeypatch, openai)

    def make(inner: int = 24, hidden: int = 20, depth: int = 2):
        state = random_state(emoclip_shapes(NARROW, inner=inner, hidden=hidden, depth=depth))
        state |= {f"backbone.{name}": tensor for name, tensor in clip.state_dict().items()}
        state["logit_scale"] = torch.tensor(3.0)
        torch.save(state, tmp_path / "emoclip.pth")
        return clip, state, tmp_path / "emoclip.pth"

    return make


def torchs_own(state: dict[str, torch.Tensor], depth: int) -> torch.nn.TransformerEncoder:
    """torch's encoder with the tensors of a file whose heads are as wide as torch demands."""
    layer = torch.nn.TransformerEncoderLayer(
        24, 8, 20, 0.0, partial(F.gelu, approximate="tanh"), batch_first=True, norm_first=True
    )
    encoder = torch.nn.TransformerEncoder(layer, depth, enable_nested_tensor=False).eval()
    for number, own in enumerate(encoder.layers):
        part = LAYER.format(number)
        own.load_state_dict(
            {
                "self_attn.in_proj_weight": state[f"{part}0.fn.fn.to_qkv.weight"],
                "self_attn.in_proj_bias": torch.zeros(72),
                "self_attn.out_proj.weight": state[f"{part}0.fn.fn.to_out.0.weight"],
                "self_attn.out_proj.bias": state[f"{part}0.fn.fn.to_out.0.bias"],
                "linear1.weight": state[f"{part}1.fn.fn.net.0.weight"],
                "linear1.bias": state[f"{part}1.fn.fn.net.0.bias"],
                "linear2.weight": state[f"{part}1.fn.fn.net.3.weight"],
                "linear2.bias": state[f"{part}1.fn.fn.net.3.bias"],
                "norm1.weight": state[f"{part}0.fn.norm.weight"],
                "norm1.bias": state[f"{part}0.fn.norm.bias"],
                "norm2.weight": state[f"{part}1.fn.norm.weight"],
                "norm2.bias": state[f"{part}1.fn.norm.bias"],
            }
        )
    return encoder


def test_names_and_shapes_of_the_full_size():
    written = emoclip_shapes(B32)
    assert len(written) == 302 + 2 + 2 * 11 + 1
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in written.items()}
        model = openai.empty(openai.tower_of(state, "backbone.visual.conv1.weight", "emoclip.pth"))
        clips = emoclip.clips_for(state, model)
        default = emoclip.clips_for({}, model)  # what a file lacks is expected in the published size
    for found in (clips, default):
        assert {name: tuple(shape) for name, shape in emoclip.shapes(model, found).items()} == written
    assert clips.most == 1023


@pytest.mark.parametrize("depth", [2, 3])
def test_clips_equal_torchs_transformer_over_open_clips_frames(file_of, depth):
    clip, state, path = file_of(depth=depth)
    encoder = load_pretrained("emoclip", path, CPU)
    assert isinstance(encoder, emoclip.EmoClipEncoder)
    with torch.no_grad():
        frames = clip.encode_image(clip_pixels(FRAMES))
        x = torch.cat([state["temporal.cls_token"], frames[None]], 1) + state["temporal.pos_embedding"][:, :6]
        expected = torchs_own(state, depth)(x)[0, 0]
    torch.testing.assert_close(encoder.encode_clip(FRAMES), expected, **CLOSE)
    assert (encoder.encode_clip(FRAMES.flip(0)) - expected).abs().max() > 1e-3  # the order counts


def test_heads_may_be_wider_than_the_embedding_allows(file_of):
    """As published: 8 heads of 2,048 at 512 dimensions, here 8 of 5 at 24; a head at a time, in float64."""
    _, state, _ = file_of(inner=40, depth=1)
    clips = temporal.sized_for(state, 24)
    for name, tensor in temporal.tensors(clips).items():
        tensor.copy_(state[name])
    own = {name.removeprefix(LAYER.format(0)): t.double().numpy() for name, t in state.items()}
    frames = torch.randn(1, 4, 24)
    x = np.concatenate([own["temporal.cls_token"][0], frames[0].double().numpy()])
    x = x + own["temporal.pos_embedding"][0, :5]

    def normed(x, part):
        mean, variance = x.mean(1, keepdims=True), x.var(1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-5) * own[f"{part}.norm.weight"] + own[f"{part}.norm.bias"]

    query, key, value = np.split(normed(x, "0.fn") @ own["0.fn.fn.to_qkv.weight"].T, 3, axis=1)
    heads = []
    for head in range(8):
        place = slice(5 * head, 5 * head + 5)
        share = np.exp(query[:, place] @ key[:, place].T / np.sqrt(5))
        heads.append(share / share.sum(1, keepdims=True) @ value[:, place])
    x = x + np.concatenate(heads, 1) @ own["0.fn.fn.to_out.0.weight"].T + own["0.fn.fn.to_out.0.bias"]
    y = normed(x, "1.fn") @ own["1.fn.fn.net.0.weight"].T + own["1.fn.fn.net.0.bias"]
    y = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
    x = x + y @ own["1.fn.fn.net.3.weight"].T + own["1.fn.fn.net.3.bias"]
    with torch.no_grad():
        torch.testing.assert_close(clips(frames)[0].double().numpy(), x[0], atol=1e-5, rtol=1e-4)


def test_a_picture_is_a_clip_of_one_frame(file_of):
    _, _, path = file_of()
    encoder = load_pretrained("emoclip", path, CPU)
    alone = torch.stack([encoder.encode_clip(FRAMES[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(encoder.image_features(FRAMES), alone, **CLOSE)
    torch.testing.assert_close(encoder.encode_images(FRAMES), unit(alone), **CLOSE)
    assert encoder.looks == ("gradient",)
    targets = encoder.encode_texts(["a smile"]).expand(5, -1)
    heat = encoder.heat_maps(FRAMES, targets, "gradient")
    assert heat.shape == (5, 4, 4)
    assert (heat > 0).all()
    maps = encoder.patch_maps(FRAMES, ["a smile"] * 5)
    assert maps.shape == (5, 4, 4)
    assert maps.abs().max() <= 1 + 1e-5


def test_texts_are_clips_own_and_the_scale_is_that_of_training(file_of, tmp_path):
    """Saved by several processes: `module.` before names, CLIP's part in half precision."""
    clip, state, path = file_of()
    whole = load_pretrained("emoclip", path, CPU)
    torch.save(clip.state_dict(), tmp_path / "clip.pt")
    plain = load_pretrained("clip", tmp_path / "clip.pt", CPU)
    torch.testing.assert_close(whole.encode_texts(["a smile"]), plain.encode_texts(["a smile"]))
    assert whole.logit_scale == pytest.approx(float(torch.tensor(3.0).exp()))
    half = {
        f"module.{name}": tensor.half() if name.startswith("backbone.") else tensor
        for name, tensor in state.items()
    }
    torch.save(half, tmp_path / "half.pth")
    other = load_pretrained("emoclip", tmp_path / "half.pth", CPU)
    torch.testing.assert_close(other.encode_clip(FRAMES), whole.encode_clip(FRAMES), atol=0.02, rtol=0.02)


def test_the_suite_embeds_clips_by_it_and_refuses_to_average(file_of, tmp_path):
    _, _, path = file_of()
    encoder = load_pretrained("emoclip", path, CPU)
    media = (tmp_path / "a.mp4",)
    embedder = Embedder(encoder, "clean", lambda *_: FRAMES.numpy())
    embedder.prepare([media])
    row = torch.from_numpy(embedder.vectors([media])[0])
    torch.testing.assert_close(row.float(), unit(encoder.encode_clip(FRAMES)), **CLOSE)
    assert embedder.note == "16 frames through the clip encoder"
    with pytest.raises(MienError, match="that protocol averages frames; use --protocol clean"):
        Embedder(encoder, "expclip", lambda *_: FRAMES.numpy())


QKV = LAYER.format(1) + "0.fn.fn.to_qkv.weight"
FAULTS = {
    "missing": rf"1 tensors missing, 0 unknown, first '{QKV}'",
    "unknown": "0 tensors missing, 1 unknown, first 'mlp.0.weight'",
    "renamed": rf"1 tensors missing, 1 unknown, first '{QKV}'; nearest in the file: '{QKV}s'",
    "misshapen": rf"'{QKV}' has shape \[72, 23\], the model \[72, 24\]",
    "uneven heads": r"to_qkv.weight' has shape \[71, 24\], the model \[48, 24\]",
    "no transformer": "24 tensors missing, 0 unknown, first 'temporal.cls_token'",
    "no scale": "1 tensors missing, 0 unknown, first 'logit_scale'",
    "image tower": "the image tower without a text tower: no zero-shot model",
    "plain clip": "no 'backbone.visual.conv1.weight': not a ViT of OpenAI's CLIP; give a state dict",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_does_not_fit_is_named_in_one_line(file_of, tmp_path, fault):
    _, state, _ = file_of()
    match fault:
        case "missing":
            del state[QKV]
        case "unknown":
            state["mlp.0.weight"] = torch.zeros(2)
        case "renamed":
            state[f"{QKV}s"] = state.pop(QKV)
        case "misshapen":
            state[QKV] = torch.zeros(72, 23)
        case "uneven heads":
            state[LAYER.format(0) + "0.fn.fn.to_qkv.weight"] = torch.zeros(71, 24)
        case "no transformer":
            state = {name: tensor for name, tensor in state.items() if not name.startswith("temporal.")}
        case "no scale":
            del state["logit_scale"]
        case "image tower":
            state = {name.replace("backbone.visual.", "backbone."): t for name, t in state.items()}
        case "plain clip":
            state = {name.removeprefix("backbone."): t for name, t in state.items() if "temporal" not in name}
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(RunError, match=rf"other\.pth: .*({FAULTS[fault]})") as caught:
        load_pretrained("emoclip", tmp_path / "other.pth", CPU)
    assert "\n" not in str(caught.value)


def test_a_clip_has_at_least_one_frame_and_at_most_as_many_as_positions(file_of):
    _, _, path = file_of()
    encoder = load_pretrained("emoclip", path, CPU)
    assert encoder.encode_clip(FRAMES[:1]).shape == (24,)
    for count in (0, 1024):
        with pytest.raises(ValueError, match="give 1 to 1023"):
            encoder.encode_clip(torch.zeros(count, 3, 32, 32, dtype=torch.uint8))
