"""A pair of labelled pictures as a sample of schema pair/1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mien.corpus.ledger import Row
from mien.pairs import labels, pictures
from mien.pairs.blobs import read_blob
from mien.pairs.choose import Pair, uid_of


def key_of(video: str, pair: Pair) -> str:
    """Name of a pair: video, shot, track, frames of source and target."""
    source = pair.source
    return f"{video}_{source['shot']:05d}_{source['track']:03d}_{source['frame']}_{pair.target['frame']}"


def members_of(folder: Path, video: str, pair: Pair, names: tuple[str, str, str]) -> dict[str, bytes]:
    """Pictures, parts and record of a pair.

    Args:
        folder: of the video's ledgers.
        video: its name.
        pair: which pictures.
        names: of reader, unit estimator and identity estimator.

    Raises:
        DataError: if a picture is damaged.
    """
    key = key_of(video, pair)
    record = {
        "v": 1,
        "uid": uid_of(key),
        "label": "pair",
        "group": f"{video}p{pair.person}",
        "video": video,
        "au_detector": names[1],
        "reader": names[0],
        "identity": names[2],
        **_side("src", pair.source),
        **_side("tgt", pair.target),
    }
    members = {"json": json.dumps(record, ensure_ascii=False).encode()}
    for side, row in (("src", pair.source), ("tgt", pair.target)):
        members[f"{side}.jpg"] = picture_of(folder, row)
        members[f"{side}.parse.png"] = read_blob(folder / labels.BLOB, row["parse"])
    return members


def picture_of(folder: Path, row: Row) -> bytes:
    """The JPEG of a labelled picture."""
    return read_blob(folder / pictures.BLOB, row["picture"])


def _side(name: str, row: Row) -> dict[str, Any]:
    return {
        f"au_{name}": row["units"],
        f"jaw_{name}": row["jaw"],
        f"jaw_rest_{name}": row["jaw_rest"],
        f"pose_{name}": row["pose"],
        f"frame_{name}": row["frame"],
        f"t_ms_{name}": row["t_ms"],
        f"crop_{name}": row["matrix"],
    }
