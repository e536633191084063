"""The README.md of an exported model: what it is for, what it is not, and the numbers that were measured."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from mien.engine.rundir import RunFolder
from mien.errors import RunError

ABSENT = "not recorded"
_MOST = 1 << 24
"""Bytes of a report that are read."""


def card(folder: RunFolder, which: str, facts: dict[str, Any]) -> str:
    """The card as Markdown; what the run does not record is said to be absent.

    Args:
        folder: the run, with its evaluations below `evaluation/*/report.json`.
        which: checkpoint that was exported.
        facts: `format`, `loads`, `max_difference` and those of `mien.export.facts_of`.

    Raises:
        RunError: for a report that cannot be read.
    """
    import jinja2

    template = resources.files("mien") / _TEMPLATES.get(str(facts["format"]), "model_card.md.j2")
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    recipe = folder.recipe
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        facts=facts,
        which=which,
        model=recipe.model.model_dump(),
        engine=recipe.engine.model_dump(),
        objective=recipe.objective.model_dump(),
        seed=recipe.seed,
        data=_sets(recipe),
        averaged=recipe.engine.ema is not None,
        created=folder.info["created"][:10],
        state=folder.info.get("state", ABSENT),
        reports=reports(folder.path),
        how=_HOW[str(facts["format"])],
        imported=folder.info.get("imported"),
    )


def reports(run: Path) -> list[dict[str, Any]]:
    """Evaluations of a run: name, protocol, facts and rows of formatted numbers.

    Raises:
        RunError: for a report that cannot be read.
    """
    return [_report(path) for path in sorted((run / "evaluation").glob("*/report.json"))]


def _report(path: Path) -> dict[str, Any]:
    from mien.evaluation.report import TITLES

    try:
        if path.stat().st_size > _MOST:
            raise ValueError("too large")
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content["rows"]
        names = list(
            dict.fromkeys(name for row in rows for name in row["metrics"] if "f1_au" not in name[:5])
        )
        return {
            "name": path.parent.name,
            "facts": content["facts"],
            "test_set": _name(content["facts"].get("test set")),
            "heads": [TITLES.get(name, name) for name in names],
            "rows": [
                {"method": row["method"], "cells": [_cell(row["metrics"].get(name)) for name in names]}
                for row in rows
            ],
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"report cannot be read: {type(error).__name__}: {error}",
            where=path,
            fix="evaluate again, or remove the folder",
        ) from error


def _name(test_set: str | None) -> str:
    """The last two parts of a set's place: a card leaves the machine, whose folders concern nobody."""
    return "/".join(Path(test_set).parts[-2:]) if test_set else "a set that is not recorded"


def _cell(metric: dict[str, float] | None) -> str:
    if metric is None or metric.get("value") is None:
        return "-"
    text = f"{metric['value']:.3f}"
    if metric.get("low") is not None and metric.get("high") is not None:
        text += f" [{metric['low']:.3f}, {metric['high']:.3f}]"
    return text


def _sets(recipe: Any) -> list[dict[str, Any]]:
    """Training sets: name, and size and schema where the index is still there."""
    parts = recipe.data.train.parts if recipe.data.train is not None else []
    return [{"name": Path(str(part.shards)).name, **_index(str(part.shards))} for part in parts]


def _index(shards: str) -> dict[str, Any]:
    path = Path(shards) / "index.json"
    if not path.is_file() or path.stat().st_size > _MOST:
        return {"samples": ABSENT, "schema": ABSENT}
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        return {"samples": int(index["samples"]), "schema": str(index["schema"])}
    except (ValueError, KeyError, TypeError):
        return {"samples": ABSENT, "schema": ABSENT}


_TEMPLATES = {"diffusers": "model_card_editor.md.j2"}
"""Cards of what is no encoder, by format."""
_HOW = {
    "diffusers": """\
    import torch
    from diffusers import UNet2DConditionModel
    from safetensors.torch import load_file
    identity = UNet2DConditionModel.from_pretrained("FOLDER/IDENTITY", use_safetensors=True)
    denoiser = UNet2DConditionModel.from_pretrained("FOLDER/DENOISER", use_safetensors=True)
    prompt = load_file("FOLDER/prompt.safetensors")["prompt"]
    # once a photo: hidden states that enter each transformer block of identity(latent, 0, prompt)
    # each step: denoiser(torch.cat([noisy, condition], 1), t, prompt, class_labels=vector), where each
    # self-attention has those states, normalised by the denoiser's own norm1, as more keys and values""",
    "open_clip": """\
    import open_clip
    model, _, preprocess = open_clip.create_model_and_transforms("local-dir:FOLDER")
    tokens = open_clip.get_tokenizer("local-dir:FOLDER")(["an expression of joy"])
    seen = model.encode_image(preprocess(image)[None], normalize=True)
    score = seen @ model.encode_text(tokens, normalize=True).T""",
    "transformers": """\
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer
    model = CLIPModel.from_pretrained("FOLDER").eval()
    pixels = CLIPImageProcessor.from_pretrained("FOLDER")(image, return_tensors="pt")
    tokenizer = CLIPTokenizer.from_pretrained("FOLDER")
    tokens = tokenizer(["an expression of joy"], padding=True, truncation=True, return_tensors="pt")
    logits = model(**tokens, **pixels).logits_per_image""",
    "onnx": """\
    import onnxruntime
    # pixels float32 [B, 3, S, S], normalised as preprocess.json says; tokens int64 [T, 77]
    image = onnxruntime.InferenceSession("FOLDER/image.onnx")
    text = onnxruntime.InferenceSession("FOLDER/text.onnx")
    score = image.run(None, {"image": pixels})[0] @ text.run(None, {"tokens": tokens})[0].T""",
}
"""How a folder of each format is loaded."""
