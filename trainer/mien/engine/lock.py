"""One job at a time on a run: a lock that dies with its process, on any machine that shares the files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator

from mien.engine.rundir import RunFolder
from mien.errors import RunError

log = logging.getLogger("mien.engine")
PATIENCE_S = 15.0
"""Seconds to wait for a process that is just ending, such as the one before a requeue."""


@contextlib.contextmanager
def held(folder: RunFolder) -> Iterator[None]:
    """Hold the lock of a run within the block.

    A POSIX lock: NFS carries it between machines, forked loaders do not inherit it, and a killed process
    gives it up.

    Raises:
        RunError: if another process has it and keeps it.
    """
    handle = os.open(folder.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _take(handle, folder)
        yield
    finally:
        os.close(handle)


def _take(handle: int, folder: RunFolder) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                log.warning("%s: this file system has no locks (%s)", folder.path, error.strerror)
                return
        if time.monotonic() > deadline:
            raise RunError(
                f"another job works on this run: {_holder(folder)}",
                where=folder.path,
                fix="end it, or set run.root elsewhere",
            )
        time.sleep(0.2)


def _holder(folder: RunFolder) -> str:
    sessions = folder.info["sessions"]
    last = sessions[-1] if sessions else {}
    job = f", Slurm job {last['job']}" if "job" in last else ""
    return f"process {last.get('pid', 'unknown')} on {last.get('host', 'unknown')}{job}"
