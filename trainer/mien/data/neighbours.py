"""A table of neighbours of a whole set: which other samples are a sample's positives, on disk as safetensors.

Written by mining, read by the order of samples and by the loss. Samples are named by their index in the set,
and the table holds the SHA-256 of that set, so that it can serve no other.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError

_KIND, _ABOUT = "mien neighbours 1", "mien"
_DTYPES = {"indices": np.int32, "weights": np.float32, "ignored": np.int32}
_MOST_BYTES = 8 << 30
_MEND = "mine it again with `mien mine`"


@dataclass(frozen=True)
class Side:
    """Lists of one direction; -1 and weight 0 where there is no entry."""

    indices: NDArray[np.int32]
    """[N, K] positives, the nearest first."""
    weights: NDArray[np.float32]
    """[N, K] their shares, sum 1 in a row that has positives."""
    ignored: NDArray[np.int32]
    """[N, I] samples that are too alike to be negatives; none of them is a positive of the row."""


@dataclass(frozen=True)
class Neighbours:
    """The table: image rows (`ab`) and text rows (`ba`), N samples each.

    Rules that find the same for both directions have one list twice, which is stored once.
    """

    ab: Side
    ba: Side
    set_sha: str
    """SHA-256 (hex) of the set whose samples are numbered here."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """How it was mined (rule, thresholds, run, step): plain JSON."""

    def __len__(self) -> int:
        return len(self.ab.indices)

    @property
    def sha(self) -> str:
        """SHA-256 (hex) of the lists, the set and the facts."""
        whole = hashlib.sha256(json.dumps([_KIND, self.set_sha, dict(self.facts)], sort_keys=True).encode())
        for name, values in sorted(_arrays(self).items()):
            whole.update(f"{name} {values.shape}".encode())
            whole.update(np.ascontiguousarray(values).tobytes())
        return whole.hexdigest()

    def check(self, set_sha: str, size: int, where: object) -> None:
        """Raise DataError if the table is not one of the set of `size` samples with that SHA-256."""
        if len(self) != size or self.set_sha != set_sha:
            what = f"table of another set: {len(self)} samples, this set has {size}"
            if len(self) == size:
                what = "table of another set with as many samples"
            raise DataError(what, where=where, fix="mine this set with `mien mine`")


def save(table: Neighbours, path: Path) -> str:
    """Write a table so that a reader sees all of it or nothing; returns its SHA-256.

    Raises:
        DataError: if the disk refuses.
    """
    from safetensors.numpy import save as to_bytes

    sha = table.sha
    about = {"kind": _KIND, "sha256": sha, "set_sha": table.set_sha, "facts": dict(table.facts)}
    metadata = {_ABOUT: json.dumps(about, sort_keys=True)}  # one entry: safetensors keeps no order of several
    arrays = {name: np.ascontiguousarray(values) for name, values in _arrays(table).items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(to_bytes(arrays, metadata))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            error.strerror or str(error), where=path, fix="see to disk and permissions"
        ) from error
    return sha


def load(path: Path) -> Neighbours:
    """Read a table and check every entry.

    Raises:
        DataError: if the file is absent, no table, too large, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DataError("no table of neighbours", where=path, fix="write one with `mien mine RUN SET FILE`")
    if path.stat().st_size > _MOST_BYTES:
        raise DataError(f"larger than {_MOST_BYTES >> 30} GiB", where=path, fix=_MEND)
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get(_ABOUT, "null"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise DataError("cannot be read as safetensors", where=path, fix=_MEND) from error
    known = isinstance(about, dict) and about.get("kind") == _KIND
    if not known or not isinstance(about.get("facts"), dict) or not isinstance(about.get("set_sha"), str):
        raise DataError("safetensors, but no table of neighbours", where=path, fix=_MEND)
    ab = _side(arrays, "ab", path)
    ba = _side(arrays, "ba", path) if "ba.indices" in arrays else ab
    if len(ab.indices) != len(ba.indices):
        raise DataError("its two directions have different sizes", where=path, fix=_MEND)
    table = Neighbours(ab, ba, about["set_sha"], about["facts"])
    if table.sha != about.get("sha256"):
        raise DataError("damaged: its SHA-256 is not the one it states", where=path, fix=_MEND)
    return table


def _arrays(table: Neighbours) -> dict[str, NDArray[Any]]:
    sides = {"ab": table.ab} if table.ab is table.ba else {"ab": table.ab, "ba": table.ba}
    return {f"{name}.{part}": getattr(side, part) for name, side in sides.items() for part in _DTYPES}


def _side(arrays: Mapping[str, NDArray[Any]], name: str, path: Path) -> Side:
    """One direction.

    Raises:
        DataError: for arrays of another kind, or entries that cannot be.
    """
    found = {part: arrays.get(f"{name}.{part}") for part in _DTYPES}
    for part, dtype in _DTYPES.items():
        values = found[part]
        if values is None or values.ndim != 2 or values.dtype != dtype:
            what = f"{name}.{part} is not {np.dtype(dtype).name} of two dimensions"
            raise DataError(what, where=path, fix=_MEND)
    side = Side(**found)  # type: ignore[arg-type]
    rows = len(side.indices)
    own = np.arange(rows)[:, None]
    if side.weights.shape != side.indices.shape or len(side.ignored) != rows:
        raise DataError(f"lists of {name} do not fit each other", where=path, fix=_MEND)
    for samples in (side.indices, side.ignored):
        if ((samples < -1) | (samples >= rows) | (samples == own)).any():
            raise DataError(f"{name} names a sample that is none or is its own", where=path, fix=_MEND)
    sums, has = side.weights.sum(1), (side.indices >= 0).any(1)
    if not np.isfinite(side.weights).all() or (side.weights < 0).any() or (abs(sums - has) > 1e-3).any():
        raise DataError(f"weights of {name} are no shares", where=path, fix=_MEND)
    return side
