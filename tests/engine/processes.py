"""Training in processes of their own: real ranks, real signals, real kills.

They are forked from a server that has imported everything and computed nothing: that saves seconds each.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

PATIENCE_S = 90.0
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["mien.engine.training", "mien.systems.emocapclip.module", "mien.faces.captions", "open_clip", "wandb"]
)


class Session:
    """One rank: `mien train emocapclip/tiny OVERRIDES`, leader of its own process group.

    Args:
        overrides: `key=value` for the recipe.
        log: file that receives what it prints.
        resume: as `--resume`.
        environment: variables on top of this process's.
        poison: steps (done before) whose loss is not a number.
        hang: step (done before) that never ends.
        patience_s: how long to wait for another job's lock; None as usual.
    """

    def __init__(
        self,
        overrides: Iterable[str],
        log: Path,
        *,
        resume: bool = False,
        environment: Mapping[str, str] | None = None,
        poison: Iterable[int] = (),
        hang: int | None = None,
        patience_s: float | None = None,
    ) -> None:
        self.log = log
        faults = (tuple(poison), hang, patience_s)
        arguments = (list(overrides), str(log), resume, dict(environment or {}), *faults)
        self._process = _context.Process(target=_work, args=arguments)
        self._process.start()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def send(self, signum: int, *, group: bool = False) -> None:
        """Signal the rank, or all its processes (loaders, the tracker's helper) too."""
        assert self._process.pid is not None
        (os.killpg if group else os.kill)(self._process.pid, signum)

    def until(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready()`; fails if the session ends before."""
        end = time.monotonic() + PATIENCE_S
        while not ready():
            assert self.alive, f"ended early:\n{self.said()}"
            assert time.monotonic() < end, f"not within {PATIENCE_S} s:\n{self.said()}"
            time.sleep(0.001)

    def pause(self) -> None:
        """Stop it where it is."""
        self.send(signal.SIGSTOP, group=True)

    def resume(self) -> None:
        """Let it go on."""
        self.send(signal.SIGCONT, group=True)

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        self.send(signal.SIGKILL, group=True)
        assert self.wait() == -signal.SIGKILL

    def wait(self) -> int:
        """Exit code."""
        self._process.join(PATIENCE_S)
        code = self._process.exitcode
        if code is None:
            self.send(signal.SIGKILL, group=True)
            raise AssertionError(f"hangs:\n{self.said()}")
        return code

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


def ranks(
    world: int,
    overrides: Iterable[str],
    folder: Path,
    *,
    resume: bool = False,
    poison: Mapping[int, Iterable[int]] | None = None,
    hang: Mapping[int, int] | None = None,
) -> list[Session]:
    """Start `world` ranks as torchrun would: one job, one address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        "TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "GROUP_RANK": "0",
    }  # fmt: skip
    poison = poison or {}
    return [
        Session(
            overrides,
            folder / f"rank{rank}-of-{world}.log",
            resume=resume,
            environment=(common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) if world > 1 else {},
            poison=poison.get(rank, ()),
            hang=(hang or {}).get(rank),
        )
        for rank in range(world)
    ]


def _work(
    overrides: list[str],
    log: str,
    resume: bool,
    environment: dict[str, str],
    poison: tuple[int, ...],
    hang: int | None,
    patience_s: float | None,
) -> None:
    os.setsid()
    multiprocessing.set_start_method("fork", force=True)  # for loaders, as in a process started by a person
    os.environ.update(environment)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115

    from mien import engine, recipe
    from mien.engine import lock
    from mien.errors import MienError

    if poison or hang is not None:
        _spoil(set(poison), hang)
    if patience_s is not None:
        lock.PATIENCE_S = patience_s
    try:
        engine.run(recipe.load("emocapclip/tiny", overrides), resume=resume)
    except MienError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def _spoil(poison: set[int], hang: int | None) -> None:
    from mien.systems.emocapclip.module import EmoCapModule

    healthy = EmoCapModule.loss

    def loss(self, batch, step):
        if step == hang and self.training:
            wait_for_ever()
        total, logs = healthy(self, batch, step)
        return (total * float("nan") if step in poison and self.training else total), logs

    EmoCapModule.loss = loss


def wait_for_ever() -> None:
    while True:
        time.sleep(1)
