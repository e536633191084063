"""Try a request again: which faults pass by themselves, how long to wait, and what is said about it."""

from __future__ import annotations

import errno
import logging
import random
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mien.errors import DataError

log = logging.getLogger("mien.data")
T = TypeVar("T")

_FIRST_S, _LONGEST_S = 0.25, 20.0
_random = random.SystemRandom()  # forked workers draw differently, and nobody's seed is touched
_BUSY = {408, 425, 429, 500, 502, 503, 504}
_LASTING = {errno.EINVAL, errno.ENOSYS, errno.EISDIR, errno.ENOTDIR, errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class RemoteError(DataError):
    """A server that cannot be read: nothing is wrong with a sample, so it ends the run."""


class BrokenReply(OSError):
    """A reply that is shorter than asked for, or no answer to the question."""


class HttpStatus(OSError):
    """An HTTP reply that is an error.

    Args:
        status: its number.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status


@dataclass
class Retry:
    """Calls a request until it succeeds: exponential back-off with full jitter, a bounded number of times.

    The first fault of a process is a warning; the others are counted.

    Args:
        attempts: calls at most.
        sleep: how to wait, in seconds.
    """

    attempts: int
    sleep: Callable[[float], None] = time.sleep
    faults: int = 0
    """Faults after which it went on, in this process."""

    def call(self, request: Callable[[], T], where: str) -> T:
        """What `request` returns.

        Args:
            request: raises one of `library_errors()` when it fails.
            where: URL, for messages.

        Raises:
            FileNotFoundError: if the server says that there is no such file.
            RemoteError: if it forbids the request, or fails `attempts` times.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return request()
            except FileNotFoundError:
                raise
            except library_errors() as error:
                if not transient(error):
                    fix = "see to the address and to the credentials in the environment"
                    raise RemoteError(f"cannot be read: {reason(error)}", where=where, fix=fix) from error
                self.note(error, where)
                last = error
            if attempt < self.attempts:
                self.sleep(_random.uniform(0, min(_LONGEST_S, _FIRST_S * 2**attempt)))
        raise RemoteError(
            f"cannot be read after {self.attempts} attempts: {reason(last)}",
            where=where,
            fix="see to the server and the network, then go on with --resume",
        ) from last

    def note(self, error: Exception, where: str) -> None:
        """Count a fault; say so if it is the first."""
        self.faults += 1
        if self.faults == 1:
            log.warning("%s: %s; trying again, further faults are only counted", where, reason(error))


def library_errors() -> tuple[type[Exception], ...]:
    """What a failed request raises: OSError, and the families of those libraries that are loaded."""
    found: list[type[Exception]] = [OSError]
    for module, family in (("aiohttp", "ClientError"), ("botocore.exceptions", "BotoCoreError")):
        if module in sys.modules:
            found.append(getattr(sys.modules[module], family))
    return tuple(found)


def transient(error: Exception) -> bool:
    """Whether the same request may succeed later: busy servers, resets, timeouts, short replies.

    What a library does not explain counts as such, for attempts are bounded.
    """
    if isinstance(error, TimeoutError | ConnectionError | BrokenReply):
        return True
    status = status_of(error)
    if status is not None:
        return status in _BUSY
    if isinstance(error, PermissionError | ssl.SSLCertVerificationError | ValueError):
        return False
    if "Credentials" in type(error).__name__:  # botocore has several, without a family of their own
        return False
    return not (isinstance(error, OSError) and error.errno in _LASTING)


def status_of(error: BaseException | None) -> int | None:
    """HTTP status of an error, or of the one that it was made from; None if it has none."""
    if error is None:
        return None
    status = getattr(error, "status", None)
    if isinstance(status, int) and status:
        return status
    response = getattr(error, "response", None)  # botocore's ClientError
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status if isinstance(status, int) else None
    return status_of(error.__cause__)


def reason(error: BaseException) -> str:
    """One short line that names the fault."""
    text = " ".join(str(error).split())[:200]
    kind = type(error).__name__
    if isinstance(error, TimeoutError) and not text:
        return "no reply in time"
    return text if isinstance(error, BrokenReply | HttpStatus) else f"{kind}: {text}" if text else kind
