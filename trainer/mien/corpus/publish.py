"""Stage 7: shards of schema emocap/1, or labelled/1 while there are no captions."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.corpus.gates import read_crop
from mien.corpus.ledger import Row
from mien.corpus.options import Options
from mien.corpus.parts import Faces
from mien.corpus.scan import Movie
from mien.data.staging import staged
from mien.data.writer import ShardWriter

SHARDS = "shards"
"""Folder of the sets, one a part, inside the corpus."""

BUILT = "built.json"
"""What the shards were made of, inside their folder."""

UNLABELLED = "unlabelled"
"""Class of a face that nobody has labelled."""


@dataclass(frozen=True)
class Source:
    """Where a movie's crops lie (any ledger of it), and its captions by hash of the crop (None: none)."""

    movie: Movie
    path: Path
    captions: Mapping[str, Row] | None


def write_shards(
    out: Path,
    key: str,
    sources: Mapping[str, Source],
    faces: Faces,
    parts: Mapping[str, str],
    captioner: tuple[str, str] | None,
    options: Options,
) -> Path:
    """Write `out/shards/<part>`, all parts at once; nothing is done if they are there and `key` is the same.

    The caller holds the lock of `out`.

    Names are `<movie>_<shot>_<frame>_<face>`. Records follow the emocapclip spec, section 2; `bbox` and `lm5`
    are in pixels of the crop, `frame_box` in those of the movie.

    Args:
        out: folder of the corpus.
        key: of everything that the shards are made of.
        sources: by name of the movie.
        faces: chosen rows by name of the movie.
        parts: part by name of the movie.
        captioner: name and hash of its prompt; None writes schema labelled/1.
        options: of the corpus.

    Returns:
        The folder of the parts.

    Raises:
        DataError: if a crop is damaged or the disk refuses.
    """
    if is_built(out, key):
        return out / SHARDS
    schema = "labelled/1" if captioner is None else "emocap/1"
    with renewed(out, key) as partial:
        for part in options.parts:
            names = sorted(name for name, where in parts.items() if where == part)
            if names:
                with ShardWriter(partial / part, schema, options.samples_per_shard) as writer:
                    for name in names:
                        _write_movie(writer, sources[name], faces[name], captioner)
    return out / SHARDS


def is_built(out: Path, key: str) -> bool:
    """Whether `out/shards` is there and was made of what that key stands for."""
    return _built(out / SHARDS) == key


@contextmanager
def renewed(out: Path, key: str) -> Iterator[Path]:
    """Folder to write parts in; on leaving without an error it takes the place of `out/shards`.

    The caller holds the lock of `out`.
    """
    final = out / SHARDS
    for left in out.glob(f".*{SHARDS}.*"):  # of killed processes; the caller holds the lock
        shutil.rmtree(left, ignore_errors=True)
    fresh = out / f".{SHARDS}.{os.getpid()}"
    with staged(fresh) as partial:
        yield partial
        (partial / BUILT).write_text(json.dumps({"key": key}) + "\n", encoding="utf-8")
    old = out / f".{SHARDS}.old"
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.replace(old)
    fresh.replace(final)
    shutil.rmtree(old, ignore_errors=True)


def _built(folder: Path) -> str | None:
    path = folder / BUILT
    if not path.is_file():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    return str(told.get("key"))


def _write_movie(
    writer: ShardWriter, source: Source, rows: list[Row], captioner: tuple[str, str] | None
) -> None:
    for row in rows:
        record = _record(source.movie, row)
        if captioner is not None and source.captions is not None:
            record |= source.captions[row["sha"]]["record"]
            record |= {"captioner": dict(zip(("name", "prompt_sha"), captioner))}
        data = json.dumps(record, ensure_ascii=False).encode()
        writer.write(row["key"], {"jpg": read_crop(source.path, row), "json": data})


def _record(movie: Movie, row: Row) -> dict[str, Any]:
    return {
        "v": 1,
        "uid": row["uid"],
        "movie": movie.number,
        "shot": row["shot"],
        "track": row["track"],
        "frame": row["frame"],
        "t_ms": row["t_ms"],
        "bbox": row["bbox"],
        "frame_box": row["box"],
        "lm5": row["crop_lm5"],
        "q": {"det": row["score"], "blur": row["blur"], "yaw": row["yaw"]},
        "dup": row["dup"],
        "label": UNLABELLED,
        "group": f"m{movie.name}",
    }
