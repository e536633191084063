"""The other processes of this machine: started by Lightning, watched here so that an end of one ends all."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from mien.engine.portable import Portable

if TYPE_CHECKING:
    from mien.systems.base import SystemModule

_PATIENCE_S = 15.0
"""Seconds that the first process gets to end by itself once another one failed, and the others after it."""


class Launcher(_SubprocessScriptLauncher):
    """Lightning's launcher with another watch.

    Lightning's own kills the first process as soon as another one ends with a code other than 0. After a stop
    signal every process does, and the first may still be closing its logs then.
    """

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        """Start the other processes, unless they run already, and call `function`; ends after they ended."""
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if self.cluster_environment.creates_processes_externally:
            return function(*args, **kwargs)
        self._call_children_scripts()
        watch = _Watch(self.procs)
        watch.start()
        try:
            return function(*args, **kwargs)
        finally:
            watch.stop()
            _reap(self.procs)


class LocalDDP(Portable, DDPStrategy):
    """DDP with that launcher."""

    def prepare(self, module: SystemModule) -> None:
        """A step may leave parameters without a gradient: DDP must know before it wraps the module."""
        self._ddp_kwargs["find_unused_parameters"] = module.unused_parameters

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = Launcher(self.cluster_environment, self.num_processes, self.num_nodes)


class _Watch(threading.Thread):
    """Ends this process, which may hang in a collective, when one of the others failed."""

    def __init__(self, processes: list[subprocess.Popen[bytes]]) -> None:
        super().__init__(daemon=True, name="rank-watch")
        self._processes = processes
        self._stopped = threading.Event()

    def stop(self) -> None:
        """This process is about to end by itself."""
        self._stopped.set()

    def run(self) -> None:
        """Poll until stopped."""
        while not self._stopped.wait(0.5):
            failed = [process for process in self._processes if process.poll()]
            if failed and not self._stopped.wait(_PATIENCE_S):
                code = failed[0].returncode
                print(f"a process of this run ended with code {code}; ending the others", file=sys.stderr)
                for process in self._processes:
                    process.kill()
                sys.stderr.flush()
                os._exit(code if code > 0 else 128 - code)


def _reap(processes: list[subprocess.Popen[bytes]]) -> None:
    """Wait for the others; end those that hang, in a collective with this process for instance."""
    deadline = time.monotonic() + _PATIENCE_S
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
