"""The prompt of the captioner, packaged or from a file, and its hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

from mien.errors import DataError

LARGEST = 1 << 16
"""Bytes of a prompt file at most."""


@dataclass(frozen=True)
class Prompt:
    """Texts for a vision model.

    Attributes:
        system: who it is.
        task: what to write, sent with the picture.
        repair: sent after an answer that cannot be used; `{problem}` stands for the fault.
        sha: first 16 hex digits of the SHA-256 of the three.
    """

    system: str
    task: str
    repair: str

    @property
    def sha(self) -> str:
        """Stands for the wording in records and in the cache."""
        return hashlib.sha256("\0".join((self.system, self.task, self.repair)).encode()).hexdigest()[:16]


def load_prompt(file: Path | None = None) -> Prompt:
    """The packaged prompt, or one of a YAML file with the keys system, task, repair.

    Raises:
        DataError: if the file cannot be read, has other keys, or `repair` lacks `{problem}`.
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
    if not texts or set(rows) != {"system", "task", "repair"} or "{problem}" not in rows["repair"]:
        raise DataError("prompt without its texts", where=source, fix=fix)
    return Prompt(**rows)
