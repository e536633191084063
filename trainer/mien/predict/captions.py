"""Texts to find the nearest of: lines of a file, or the sentences of a shard set."""

from __future__ import annotations

from pathlib import Path

from mien.errors import DataError

MAX_CAPTIONS = 200_000
"""Most different captions."""
MAX_BYTES = 64 << 20
"""Largest text file."""


def read_captions(source: Path) -> list[str]:
    """Different captions in order: the lines of a text file, or the global and summary sentences of a set.

    Raises:
        DataError: if there are none or too many, or the source cannot be read.
    """
    found = _of_set(source) if source.is_dir() else _of_file(source)
    captions = list(dict.fromkeys(text for text in found if text))
    if not captions:
        raise DataError(
            "no captions", where=source, fix="give a text file with one a line, or a captioned set"
        )
    if len(captions) > MAX_CAPTIONS:
        raise DataError(f"{len(captions)} captions", where=source, fix=f"give at most {MAX_CAPTIONS}")
    return captions


def _of_file(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError("file too large", where=path, fix=f"keep it below {MAX_BYTES >> 20} MiB")
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"captions cannot be read: {reason}", where=path, fix="give UTF-8 text") from error


def _of_set(folder: Path) -> list[str]:
    from mien.evaluation.faceset import open_faces

    faces = open_faces(folder)
    return [text for level in ("global", "summary") for text in faces.texts(level) if text]
