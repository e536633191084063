"""Captions on the disk, one file each, by what they were made from: nothing is paid for twice."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from mien.corpus.caption import CaptionError, CaptionRecord, check_caption

LARGEST = 1 << 18
"""Bytes of a cached caption at most."""

log = logging.getLogger("mien.corpus")


class CaptionCache:
    """A folder of captions; safe for many threads and processes, since files appear whole (rename).

    Args:
        folder: made at the first caption; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, key: dict[str, Any]) -> CaptionRecord | None:
        """The caption for a key, None if there is none; a damaged file is logged and counts as none."""
        if self._folder is None:
            return None
        path = self._path(self._folder, key)
        try:
            with path.open("rb") as file:
                data = file.read(LARGEST + 1)
            found = json.loads(data)
            if found["key"] != key:
                raise ValueError("made from something else")
            return check_caption(found["record"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, CaptionError) as error:
            log.warning("%s: damaged caption is made again: %s", path, error)
            return None

    def put(self, key: dict[str, Any], caption: CaptionRecord, about: dict[str, Any]) -> None:
        """Keep a caption; `about` (tokens, price) is for the reader of the file only."""
        if self._folder is None:
            return
        path = self._path(self._folder, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(
            {"key": key, "record": caption.record(), "usage": about}, ensure_ascii=False, indent=1
        )
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise

    @staticmethod
    def _path(folder: Path, key: dict[str, Any]) -> Path:
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return folder / name[:2] / f"{name}.json"
