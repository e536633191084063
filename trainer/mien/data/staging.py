"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.errors import DataError


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Folder to write in, beside `out`; it becomes `out` on leaving without an error, and is removed
    otherwise.

    Killing the process leaves `out` as it was, and a hidden `.NAME.PID.partial` beside it that may be
    deleted.

    Args:
        out: absent, or an empty folder; its parents are made.

    Raises:
        DataError: if `out` is in use, or the disk refuses (full, read-only, no permission).
    """
    out = Path(os.path.realpath(out))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "is not empty" if out.is_dir() else "is a file"
        raise DataError(what, where=out, fix="give a folder that is empty or does not exist")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had our number
        partial.mkdir()
        yield partial
        partial.replace(out)
    except OSError as error:
        where = error.filename or out
        raise DataError(
            error.strerror or str(error), where=where, fix="see to disk and permissions"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
