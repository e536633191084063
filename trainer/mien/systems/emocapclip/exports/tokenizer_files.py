"""CLIP's tokenizer as Hugging Face files, made from the vocabulary that open_clip ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mien.systems.emocapclip.tokens import CONTEXT, tokenizer

START, END = 49_406, 49_407
"""Numbers of the start and the end token."""
_NAMES = {START: "<|startoftext|>", END: "<|endoftext|>"}


def write_tokenizer(folder: Path) -> None:
    """Write vocab.json, merges.txt, the configs and tokenizer.json; needs transformers, downloads nothing."""
    import transformers

    bpe = tokenizer()
    vocabulary = {_NAMES.get(number, token): number for token, number in bpe.encoder.items()}
    merges = [" ".join(pair) for pair, _ in sorted(bpe.bpe_ranks.items(), key=lambda item: item[1])]
    special = {
        "bos_token": _NAMES[START],
        "eos_token": _NAMES[END],
        "unk_token": _NAMES[END],
        "pad_token": _NAMES[END],
    }
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": CONTEXT,
        "do_lower_case": True,
        **special,
    }
    _write_json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    _write_json(folder / "special_tokens_map.json", special)
    _write_json(folder / "tokenizer_config.json", config)
    fast: Any = getattr(transformers, "CLIPTokenizerFast", None) or transformers.CLIPTokenizer  # < 5, >= 5
    fast.from_pretrained(folder).save_pretrained(folder)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
