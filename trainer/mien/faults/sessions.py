"""Training in processes of their own: real ranks, real signals, real kills.

They are forked from a server that has imported everything and computed nothing: that saves seconds each.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

PATIENCE_S = 120.0
"""Seconds after which a session that neither ends nor gets where it should counts as hanging."""
_polling = threading.Lock()
"""To start a process is to ask after all others, and of two threads that ask after one, one gets code 255."""
_context = multiprocessing.get_context("forkserver")
_PRELOADED = [
    "mien.engine.training", "mien.systems.emocapclip.module", "mien.faces.captions", "open_clip", "wandb",
]  # fmt: skip
_context.set_forkserver_preload(_PRELOADED)
_started: weakref.WeakSet[Session] = weakref.WeakSet()


def preload(modules: Iterable[str]) -> None:
    """Let the server import these too; no effect once it runs: sessions then import them themselves."""
    _context.set_forkserver_preload([*_PRELOADED, *modules])


class Session:
    """One rank: `mien train RECIPE OVERRIDES`, leader of its own process group.

    Args:
        overrides: `key=value` for the recipe.
        log: file that receives what it prints.
        recipe: name or file.
        resume: as `--resume`.
        environment: variables on top of this process's.
        faults: see `mien.faults.inject`.
    """

    def __init__(
        self,
        overrides: Iterable[str],
        log: Path,
        *,
        recipe: str = "emocapclip/tiny",
        resume: bool = False,
        environment: Mapping[str, str] | None = None,
        faults: Mapping[str, Any] | None = None,
    ) -> None:
        self.log = log
        arguments = (recipe, list(overrides), str(log), resume, dict(environment or {}), dict(faults or {}))
        self._process = _context.Process(target=_work, args=arguments)
        with _polling:
            self._process.start()
        _started.add(self)

    @property
    def pid(self) -> int:
        """Process number, also of its group."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        with _polling:
            return self._process.is_alive()

    def send(self, signum: int, *, group: bool = False) -> None:
        """Signal the rank, or all its processes (loaders, the tracker's helper) too."""
        (os.killpg if group else os.kill)(self.pid, signum)

    def until(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready()`.

        Raises:
            AssertionError: if the session ends before, or takes too long.
        """
        end = time.monotonic() + PATIENCE_S
        while not ready():
            assert self.alive, f"ended early:\n{self.said()}"
            assert time.monotonic() < end, f"not within {PATIENCE_S} s:\n{self.said()}"
            time.sleep(0.001)

    def pause(self) -> None:
        """Stop all its processes where they are."""
        self.send(signal.SIGSTOP, group=True)

    def proceed(self) -> None:
        """Let them go on."""
        self.send(signal.SIGCONT, group=True)

    def kill(self) -> None:
        """SIGKILL to all its processes.

        Raises:
            AssertionError: if it had ended before.
        """
        self.send(signal.SIGKILL, group=True)
        assert self.wait() == -signal.SIGKILL

    def wait(self) -> int:
        """Exit code; minus the number of the signal that killed it.

        Raises:
            AssertionError: if it does not end; it is killed then.
        """
        end = time.monotonic() + PATIENCE_S
        while self.alive:
            if time.monotonic() > end:
                self.send(signal.SIGKILL, group=True)
                raise AssertionError(f"hangs:\n{self.said()}")
            time.sleep(0.01)
        code = self._process.exitcode
        assert code is not None
        return code

    def said(self) -> str:
        """What it has printed."""
        return self.log.read_text() if self.log.exists() else ""


@atexit.register
def _end_all() -> None:
    """Without this a rank that waits for one that is gone would keep this process from ending, for good."""
    for session in list(_started):
        if session.alive:
            session.send(signal.SIGKILL, group=True)


def rank_environments(world: int) -> list[dict[str, str]]:
    """What torchrun would tell each rank of a job on this machine; nothing for one process."""
    if world == 1:
        return [{}]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        "TORCHELASTIC_RUN_ID": "local", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "GROUP_RANK": "0",
    }  # fmt: skip
    return [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]


def _work(
    name: str,
    overrides: list[str],
    log: str,
    resume: bool,
    environment: dict[str, str],
    faults: dict[str, Any],
) -> None:
    os.setsid()
    multiprocessing.set_start_method("fork", force=True)  # for loaders, as in a process started by a person
    os.environ.update(environment)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115

    from mien import engine, recipe
    from mien.errors import MienError
    from mien.faults import inject

    inject.apply(faults)
    try:
        engine.run(recipe.load(name, overrides), resume=resume)
    except MienError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
