"""Exports: loaded by the other library, they embed as mien does; atomic; refused where they cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import normalize

from exporting import CLIP, small_open_clip, train
from mien import systems
from mien.errors import MienError
from mien.export import export
from mien.systems.emocapclip.config import ModelConfig, ObjectiveConfig
from mien.systems.emocapclip.exports.as_onnx import write_onnx
from mien.systems.emocapclip.exports.as_open_clip import write_open_clip
from mien.systems.emocapclip.exports.as_transformers import write_transformers
from mien.systems.emocapclip.load import EmoCapEncoder
from mien.systems.emocapclip.model import EmoCapCLIP
from mien.systems.emocapclip.tokens import tokenize

TEXTS = ["an expression of joy", "The corners of the lips are raised; it isn't calm!", "sad " * 90]
CPU = torch.device("cpu")
VISIONS = [{"ls_init_value": 0.1}, {"no_ln_pre": True}, {"attentional_pool": True}]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def clip_run(tmp_path_factory) -> Path:
    with small_open_clip():
        return train(tmp_path_factory.mktemp("clip"), "model.tower=ViT-B-32-quickgelu")


def random_encoder(quick: bool, **vision) -> tuple[EmoCapEncoder, ModelConfig]:
    """Random weights of every tensor, biases and norms included."""
    torch.manual_seed(3)
    with small_open_clip(quick_gelu=quick, vision_cfg=CLIP["vision_cfg"] | vision):
        model = ModelConfig(tower="ViT-B-32", image_size=32)
        made = EmoCapCLIP(model, ObjectiveConfig())
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return EmoCapEncoder(made, 32, True, CPU), model


def pictures(size: int = 32, count: int = 4) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.manual_seed(5))


def close(other: torch.Tensor, own: torch.Tensor) -> None:
    torch.testing.assert_close(normalize(other.float(), dim=-1), own, atol=1e-5, rtol=0)


@pytest.mark.parametrize("quick", [True, False], ids=["quickgelu", "gelu"])
def test_open_clip_folder_embeds_alike(tmp_path, quick):
    import open_clip

    encoder, model = random_encoder(quick)
    with small_open_clip(quick_gelu=quick):
        write_open_clip(encoder, model, tmp_path)
    clip, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path}")(TEXTS)
    images = pictures()
    prepared = torch.stack([preprocess(Image.fromarray(i.permute(1, 2, 0).numpy())) for i in images])
    clip.eval()
    with torch.no_grad():
        close(clip.encode_image(prepared), encoder.encode_images(images))
        close(clip.encode_text(tokens), encoder.encode_texts(TEXTS))
    assert float(clip.logit_scale.detach().exp()) == pytest.approx(encoder.logit_scale)


@pytest.mark.parametrize("quick", [True, False], ids=["quickgelu", "gelu"])
def test_transformers_folder_embeds_alike(tmp_path, quick):
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    encoder, model = random_encoder(quick)
    write_transformers(encoder, model, tmp_path)
    clip = CLIPModel.from_pretrained(tmp_path).eval()
    images = pictures()
    processor = CLIPImageProcessor.from_pretrained(tmp_path)
    pixels = processor([Image.fromarray(i.permute(1, 2, 0).numpy()) for i in images], return_tensors="pt")
    tokens = CLIPTokenizer.from_pretrained(tmp_path)(
        TEXTS, padding=True, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        out = clip(**tokens, pixel_values=pixels["pixel_values"])
    close(out.image_embeds, encoder.encode_images(images))
    close(out.text_embeds, encoder.encode_texts(TEXTS))
    assert clip.config.vision_config.hidden_act == ("quick_gelu" if quick else "gelu")
    assert float(clip.logit_scale.detach().exp()) == pytest.approx(encoder.logit_scale)


def test_transformers_tokens_are_those_of_training(tmp_path):
    from transformers import CLIPTokenizer

    from mien.evaluation.promptset import load_prompts
    from mien.systems.emocapclip.exports.tokenizer_files import write_tokenizer

    write_tokenizer(tmp_path)
    prompts = load_prompts("compound")
    texts = [*TEXTS, *(text for label in prompts.classes for text in prompts.prompts("ensemble10", label))]
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    for text in texts:
        own = tokenize(text)
        assert tokenizer(text, truncation=True)["input_ids"] == own[: own.argmax() + 1].tolist()


@pytest.mark.parametrize(
    "vision", [{"ls_init_value": 0.1}, {"no_ln_pre": True}, {"attentional_pool": True}], ids=str
)
def test_a_tower_that_clipmodel_lacks_is_refused(tmp_path, vision):
    encoder, model = random_encoder(True, **vision)
    with pytest.raises(MienError, match=r"which CLIPModel has( not)?; export it --to open_clip"):
        write_transformers(encoder, model, tmp_path)


def test_another_pooling_is_found_by_the_check(tmp_path):
    encoder, model = random_encoder(True, pool_type="avg")
    with pytest.raises(MienError, match="embeddings of the transformers model differ"):
        write_transformers(encoder, model, tmp_path)


def onnx_embeds(folder: Path, encoder: EmoCapEncoder) -> None:
    import onnxruntime

    facts = json.loads((folder / "preprocess.json").read_text())
    sessions = [
        onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for name in ("image", "text")
    ]
    metadata = sessions[0].get_modelmeta().custom_metadata_map
    assert {key: json.loads(value) for key, value in metadata.items()} == facts
    mean, std = (torch.tensor(facts[key]).view(3, 1, 1) for key in ("mean", "std"))
    for count in (1, 3):
        images = pictures(facts["image_size"], count)
        pixels = ((images / 255 - mean) / std).numpy()
        seen = sessions[0].run(None, {"image": pixels})[0]
        tokens = torch.stack([torch.tensor(tokenize(text)) for text in TEXTS[:count]]).long().numpy()
        read = sessions[1].run(None, {"tokens": tokens})[0]
        close(torch.from_numpy(seen), encoder.encode_images(images))
        close(torch.from_numpy(read), encoder.encode_texts(TEXTS[:count]))


def test_onnx_of_an_open_clip_tower_embeds_alike(tmp_path):
    encoder, model = random_encoder(True)
    write_onnx(encoder, model, tmp_path)
    onnx_embeds(tmp_path, encoder)


def test_onnx_of_the_tiny_tower_is_a_folder_with_a_card(tiny, tmp_path):
    export(tiny, tmp_path / "out", to="onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    onnx_embeds(tmp_path / "out", systems.load(tiny))
    card = (tmp_path / "out/README.md").read_text()
    assert "No evaluation of this run was found" in card
    assert "is not the truth about a person" in card


def test_averaged_weights_are_exported(clip_run, tmp_path):
    from mien.engine.rundir import RunFolder

    with small_open_clip():
        export(clip_run, tmp_path / "out", to="open_clip")
    checkpoint = RunFolder.open(clip_run).checkpoint()
    averaged, last = checkpoint.weights(), checkpoint.weights(ema=False)
    name = "visual.proj"
    written = load_file(tmp_path / "out/open_clip_model.safetensors")[name]
    assert torch.equal(written, averaged[f"model.image.{name}"])
    assert not torch.equal(written, last[f"model.image.{name}"])


def test_the_card_holds_the_numbers_of_the_report_and_no_others(clip_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(clip_run, run)
    uar, war = {"value": 0.4567, "low": 0.4, "high": None}, {"value": None, "low": None, "high": None}
    row = {"method": "zero_shot", "kind": "run", "note": "", "metrics": {"uar": uar, "war": war}}
    facts = {"test set": "/home/somebody/held/out", "test samples": 7, "step": 2}
    report = {"protocol": "zero_shot", "run": "run", "facts": facts, "rows": [row]}
    (run / "evaluation/zero_shot").mkdir(parents=True)
    (run / "evaluation/zero_shot/report.json").write_text(json.dumps(report))
    with small_open_clip():
        export(run, tmp_path / "out", to="transformers")
    card = (tmp_path / "out/README.md").read_text()
    assert "| method | UAR | WAR |\n|---|---:|---:|\n| zero_shot | 0.457 | - |\n" in card
    assert "held/out (7 samples" in card
    assert "somebody" not in card
    assert "step 2, not the step exported here" in card
    assert "exponential moving average, decay 0.5" in card
    (run / "evaluation/zero_shot/report.json").write_text("{}")
    with small_open_clip(), pytest.raises(MienError, match="report cannot be read"):
        export(run, tmp_path / "again", to="transformers")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("to", ["open_clip", "transformers"])
def test_tiny_towers_name_the_formats_that_work(tiny, tmp_path, to):
    with pytest.raises(MienError, match="export it --to onnx or --to safetensors"):
        export(tiny, tmp_path / "out", to=to)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_replaced_only_on_demand_and_only_if_an_export_made_it(tiny, tmp_path):
    file, foreign = tmp_path / "weights.safetensors", tmp_path / "photos"
    export(tiny, file)
    before = {name: tensor.clone() for name, tensor in load_file(file).items()}  # not the mapped file
    with pytest.raises(MienError, match="exists already"):
        export(tiny, file)
    file.write_bytes(b"")
    export(tiny, file, force=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in load_file(file).items())
    foreign.mkdir()
    (foreign / "keep.txt").write_text("mine")
    for to in ("onnx", "safetensors"):
        with pytest.raises(MienError, match="no export made"):
            export(tiny, foreign, to=to, force=True)
    with pytest.raises(MienError, match="this format is a folder"):
        export(tiny, file, to="onnx", force=True)
    assert (foreign / "keep.txt").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos", "weights.safetensors"]


def test_a_folder_of_an_export_is_replaced_whole(clip_run, tmp_path):
    out = tmp_path / "out"
    with small_open_clip():
        export(clip_run, out, to="open_clip")
        (out / "old.txt").write_text("of the export before")
        export(clip_run, out, to="open_clip", force=True)
    assert not (out / "old.txt").exists()
    assert (out / "open_clip_config.json").is_file()
    assert list(tmp_path.iterdir()) == [out]
