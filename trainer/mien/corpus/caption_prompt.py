"""The prompt of the captioner, packaged or from a file, and its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

from mien.errors import DataError
from mien.faces.actions import ACTION_UNITS
from mien.faces.captions import VISIBLE

LARGEST = 1 << 16
"""Bytes of a prompt file at most."""


@dataclass(frozen=True)
class Prompt:
    """Texts for a vision model.

    Attributes:
        system: who it is.
        task: what to write, sent with the picture.
        repair: sent after an answer that cannot be used; `{problem}` stands for the fault.
        hints: sent after the task, with `{units}` for what a meter has seen; "" sends nothing of it.
        sha: first 16 hex digits of the SHA-256 of the texts that are sent.
    """

    system: str
    task: str
    repair: str
    hints: str = ""

    @property
    def sha(self) -> str:
        """Stands for the wording in records and in the cache."""
        texts = (self.system, self.task, self.repair, *([self.hints] if self.hints else []))
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def load_prompt(file: Path | None = None, hints: bool = False) -> Prompt:
    """The packaged prompt, or one of a YAML file with the keys system, task, repair and, if wanted, hints.

    Args:
        file: None is the packaged one.
        hints: whether `hints` will be sent; otherwise the text is dropped, and the hash is as without it.

    Raises:
        DataError: if the file cannot be read, has other keys, or `repair` lacks `{problem}`, or `hints`
            lacks `{units}` or is wanted and absent.
    """
    source = file or resources.files("mien.corpus").joinpath("caption_prompt.yaml")
    fix = "write texts under the keys system, task and repair, with {problem} in repair"
    try:
        with source.open("rb") as opened:
            data = opened.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise DataError(f"prompt of more than {LARGEST} bytes", where=source, fix="shorten it")
        rows = yaml.safe_load(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"prompt cannot be read: {reason}", where=source, fix=fix) from error
    texts = isinstance(rows, dict) and all(isinstance(text, str) and text.strip() for text in rows.values())
    if (
        not texts
        or set(rows) - {"hints"} != {"system", "task", "repair"}
        or "{problem}" not in rows["repair"]
    ):
        raise DataError("prompt without its texts", where=source, fix=fix)
    told = rows.pop("hints", "")
    if "{units}" not in told and (told or hints):
        raise DataError(
            "prompt without hints", where=source, fix="add the key hints, with {units} in its text"
        )
    return Prompt(**rows, hints=told if hints else "")


def tell_units(units: Mapping[int, tuple[float, float]]) -> str:
    """Measured units in words for `{units}`: those that are visible, with sides where they differ.

    Args:
        units: intensity of (left, right) in [0, 1] by FACS number.
    """
    told = []
    for number, (left, right) in sorted(units.items()):
        if number in ACTION_UNITS and max(left, right) >= VISIBLE:
            sides = f" (left {left:.2f}, right {right:.2f})" if left != right else ""
            told.append(f"AU {number} {ACTION_UNITS[number].name} {max(left, right):.2f}{sides}")
    return "; ".join(told) or "none"
