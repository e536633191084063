"""Sentences to CLIP tokens."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np

CONTEXT = 77
"""Tokens of a sentence, start and end included."""


@cache
def tokenizer() -> Any:
    """CLIP's byte-pair tokenizer; its vocabulary ships with open_clip, nothing is downloaded."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


@lru_cache(maxsize=1 << 16)
def tokenize(text: str) -> np.ndarray:
    """Tokens int32 [77] of a text, zero after the end token; a text that is too long is cut before it.

    Read-only and cached: captions repeat their sentences.
    """
    bpe = tokenizer()
    tokens = [bpe.sot_token_id, *bpe.encode(text)[: CONTEXT - 2], bpe.eot_token_id]
    row = np.zeros(CONTEXT, np.int32)
    row[: len(tokens)] = tokens
    row.setflags(write=False)
    return row
