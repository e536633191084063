"""A folder that `open_clip.create_model_and_transforms("local-dir:FOLDER")` loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from mien.errors import RunError
from mien.systems.emocapclip.config import ModelConfig
from mien.systems.emocapclip.exports.parity import require_same
from mien.systems.emocapclip.load import EmoCapEncoder
from mien.systems.emocapclip.model import EmoCapCLIP

_OTHER_TOKENS = ("hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode")


def write_open_clip(encoder: EmoCapEncoder, model: ModelConfig, folder: Path) -> dict[str, Any]:
    """Write `open_clip_config.json` and `open_clip_model.safetensors`.

    Args:
        encoder: with an open_clip tower, on the CPU.
        model: its section of the recipe.
        folder: empty, exists.

    Raises:
        RunError: for a tower with a third part (CoCa), which training dropped.
    """
    from safetensors.torch import save_file

    config = {"model_cfg": model_config(model), "preprocess_cfg": preprocessing(encoder)}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    # Tied or sliced tensors share memory, which the format refuses.
    state = {name: tensor.contiguous().clone() for name, tensor in open_clip_state(encoder.model).items()}
    save_file(state, folder / "open_clip_model.safetensors", {"format": "pt"})
    apart = _check(encoder, folder)
    return {
        "loads": f'open_clip.create_model_and_transforms("local-dir:{folder.name}")',
        "tower": model.tower,
        "max_difference": apart,
    }


def model_config(model: ModelConfig) -> dict[str, Any]:
    """open_clip's config of the tower, with this run's image size and the tokens that mien reads.

    Raises:
        RunError: for a CoCa.
    """
    from open_clip import factory

    config: dict[str, Any] = factory.get_model_config(model.tower)
    if "multimodal_cfg" in config:
        raise RunError(
            f"{model.tower} has a caption decoder, which mien does not train",
            where="--to open_clip",
            fix="export it --to onnx or --to safetensors",
        )
    text = {key: value for key, value in config["text_cfg"].items() if key not in _OTHER_TOKENS}
    vision = config["vision_cfg"] | {"image_size": model.image_size}
    return config | {"custom_text": True, "vision_cfg": vision, "text_cfg": text}


def preprocessing(encoder: EmoCapEncoder) -> dict[str, Any]:
    """Mean and std per channel in [0, 1]; images are resized to the square without regard to the aspect."""
    mean, std = ((part.flatten() / 255).tolist() for part in (encoder.model.mean, encoder.model.std))
    return {"mean": mean, "std": std, "interpolation": "bilinear", "resize_mode": "squash"}


def open_clip_state(model: EmoCapCLIP) -> dict[str, Tensor]:
    """Tensors under open_clip's names (`CustomTextCLIP`): `visual.*`, `text.*`, `logit_scale`.

    They share the model's memory.
    """
    own = model.state_dict()
    moved = {"image.visual.": "visual.", "text.text.": "text."}
    state = {
        new + name.removeprefix(old): tensor
        for name, tensor in own.items()
        for old, new in moved.items()
        if name.startswith(old)
    }
    return state | {"logit_scale": own["log_scale"].reshape(())}


def _check(encoder: EmoCapEncoder, folder: Path) -> float:
    import open_clip

    name = f"local-dir:{folder}"
    clip: Any = open_clip.create_model(name).eval()
    tokens = open_clip.get_tokenizer(name)
    return require_same(
        encoder, clip.encode_image, lambda texts: clip.encode_text(tokens(texts)), "open_clip"
    )
