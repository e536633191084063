"""Many small files in one, beside the ledger whose rows say where each lies."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from mien.errors import DataError


class BlobWriter:
    """Writes aside, and puts the file under its name when all is there.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._aside, self._size = path, path.with_name(f"{path.name}.part"), 0
        self._file = self._aside.open("wb")

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, data: bytes) -> list[Any]:
        """Append bytes; place, length and hash, for `read_blob`."""
        place, self._size = self._size, self._size + len(data)
        self._file.write(data)
        return [place, len(data), _hash(data)]

    def finish(self) -> None:
        """Put the file under its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._aside.replace(self._path)


def read_blob(path: Path, at: list[Any]) -> bytes:
    """What `add` put there.

    Raises:
        DataError: if the file is not the one that the ledger speaks of.
    """
    place, length, known = at
    fix = "delete the ledger beside it; the stage makes both anew"
    try:
        with path.open("rb") as file:
            data = os.pread(file.fileno(), length, place)
    except OSError as error:
        raise DataError(error.strerror or str(error), where=path, fix=fix) from error
    if _hash(data) != known:
        raise DataError(f"damaged at byte {place}", where=path, fix=fix)
    return data


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
