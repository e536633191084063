"""Both towers as ONNX graphs, with preprocessing inside or stated in the metadata."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.errors import RunError
from mien.systems.emocapclip.config import ModelConfig
from mien.systems.emocapclip.exports.as_open_clip import preprocessing
from mien.systems.emocapclip.exports.parity import require, require_same
from mien.systems.emocapclip.load import EmoCapEncoder
from mien.systems.emocapclip.model import EmoCapCLIP, unit
from mien.systems.emocapclip.tokens import CONTEXT, tokenize

OPSET = 20
OUTPUT = "features"  # not "embedding": traced graphs have a value of that name
_ONE_FILE = 1_900_000_000
"""Bytes of weights up to which a graph is one file; protobuf ends at 2 GiB."""


class _Image(nn.Module):
    def __init__(self, model: EmoCapCLIP) -> None:
        super().__init__()
        self.image = model.image

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images float32 [B, 3, S, S] to unit rows [B, D]."""
        return unit(self.image(images).embedding)


class _Text(nn.Module):
    def __init__(self, model: EmoCapCLIP) -> None:
        super().__init__()
        self.text = model.text.text  # not the wrapper: it sorts and crops, by the data

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens int64 [T, 77] to unit rows [T, D]."""
        return unit(self.text(tokens))


def write_onnx(encoder: EmoCapEncoder, model: ModelConfig, folder: Path) -> dict[str, Any]:
    """Write `image.onnx`, `text.onnx` and `preprocess.json`.

    `image.onnx` takes `image` float32 [B, 3, S, S], RGB, resized to the square (bilinear, antialiased) and
    normalised by the mean and std of the metadata; `text.onnx` takes `tokens` int64 [T, 77], zero after the
    end token. Both give `features`, unit rows float32, for any B and T.

    Args:
        encoder: on the CPU, of any tower.
        model: its section of the recipe.
        folder: empty, exists.

    Raises:
        RunError: if onnx is absent, a tower cannot be traced, or onnxruntime gets other embeddings.
    """
    require("onnx", "onnxscript", "onnxruntime")
    size = encoder.image_size
    facts: dict[str, Any] = preprocessing(encoder) | {
        "image_size": size,
        "image_layout": "RGB, [B, 3, S, S], (value / 255 - mean) / std",
        "context": CONTEXT,
        "tokenizer": "CLIP byte-pair encoding, start 49406, end 49407, zero after the end",
        "logit_scale": encoder.logit_scale,
    }
    images, tokens = torch.zeros(2, 3, size, size), _tokens(["a", "b"])
    _export(_Image(encoder.model), images, "image", facts, folder / "image.onnx")
    _export(_Text(encoder.model), tokens, "tokens", facts, folder / "text.onnx")
    (folder / "preprocess.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return {
        "loads": f'onnxruntime.InferenceSession("{folder.name}/image.onnx")',
        "tower": model.tower,
        "max_difference": _check(encoder, folder),
    }


def _tokens(texts: list[str]) -> Tensor:
    return torch.stack([torch.tensor(tokenize(text)) for text in texts]).long()


def _export(part: nn.Module, example: Tensor, name: str, facts: dict[str, Any], path: Path) -> None:
    onnx_log = logging.getLogger("torch.onnx")
    level = onnx_log.level
    onnx_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter about itself
            program = torch.onnx.export(
                part.eval(),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[name],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0]
        raise RunError(
            f"its {path.stem} tower cannot be traced: {reason}",
            where="--to onnx",
            fix="export it --to open_clip or --to safetensors",
        ) from error
    finally:
        onnx_log.setLevel(level)
    assert program is not None  # dynamo=True
    program.model.metadata_props.update({key: json.dumps(value) for key, value in facts.items()})
    weight = sum(p.numel() * p.element_size() for p in part.parameters())
    program.save(path, external_data=weight > _ONE_FILE)


def _check(encoder: EmoCapEncoder, folder: Path) -> float:
    import onnxruntime

    def run(name: str, key: str, value: Tensor) -> Tensor:
        session = onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run([OUTPUT], {key: value.numpy()})[0])

    return require_same(
        encoder,
        lambda images: run("image.onnx", "image", images),
        lambda texts: run("text.onnx", "tokens", _tokens(texts)),
        "onnx",
    )
