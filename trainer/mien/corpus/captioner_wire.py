"""One request to an endpoint, bounded in time and bytes; and again while the server is busy or away."""

from __future__ import annotations

import email.utils
import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mien.corpus.caption import CaptionError
from mien.corpus.caption_limits import Pause
from mien.corpus.captioner_options import HttpOptions

if TYPE_CHECKING:
    import httpx

FIRST_WAIT_S = 0.5
"""Longest pause after the first fault; it doubles with each further one."""

_BUSY = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}

log = logging.getLogger("mien.corpus")


@dataclass(frozen=True)
class Fault:
    """A request that failed.

    Attributes:
        error: what to raise when there is no further attempt.
        passing: whether the same request may succeed later.
        billed: whether the server may have done, and charged, the work.
        wait_s: pause that the server asks for.
    """

    error: CaptionError
    passing: bool
    billed: bool = False
    wait_s: float | None = None


class Wire:
    """Sends bodies to one address. Threads may share it.

    Args:
        options: address, limits of time and size.
        sleep: how to wait, in seconds.
    """

    def __init__(self, options: HttpOptions, sleep: Callable[[float], None] = time.sleep) -> None:
        import httpx

        self._key = options.key()
        self._options, self._sleep = options, sleep
        self._pause = Pause(sleep=sleep)
        self._random = random.SystemRandom()
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        # A proxy named in the environment is for other machines.
        self._client = httpx.Client(
            headers=headers,
            timeout=options.timeout_s,
            trust_env=not options.local,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=options.concurrency),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(
        self, body: Mapping[str, Any], before: Callable[[], None], failed: Callable[[Fault], None]
    ) -> dict[str, Any]:
        """The JSON object that the endpoint answers with.

        Args:
            body: of the request.
            before: called before each attempt; may wait, or raise to stop.
            failed: called with each failed attempt.

        Raises:
            CaptionError: when a fault will not pass, or `attempts` have failed.
        """
        for attempt in range(1, self._options.attempts + 1):
            self._pause.wait()
            before()
            answer = self._post(body)
            if not isinstance(answer, Fault):
                return answer
            failed(answer)
            if not answer.passing or attempt == self._options.attempts:
                raise answer.error
            self._wait(answer, attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _wait(self, fault: Fault, attempt: int) -> None:
        longest = self._options.longest_wait_s
        if fault.wait_s is None:
            self._sleep(self._random.uniform(0, min(longest, FIRST_WAIT_S * 2 ** (attempt - 1))))
        elif fault.wait_s > longest:
            raise fault.error
        else:
            # The server has named the earliest time; jitter keeps the threads from coming back as one.
            self._pause.ask(fault.wait_s)
            self._sleep(fault.wait_s + self._random.uniform(0, 0.1 * fault.wait_s))

    def _post(self, body: Mapping[str, Any]) -> dict[str, Any] | Fault:
        import httpx

        try:
            with self._client.stream("POST", self._options.url, json=body) as reply:
                data = self._read(reply)
        except httpx.TimeoutException as error:
            sent = not isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
            return Fault(self._error("no reply in time", "timeout", "raise timeout_s"), True, sent)
        except httpx.RequestError as error:
            sent = not isinstance(error, httpx.ConnectError)
            what = f"connection failed: {type(error).__name__}"
            return Fault(self._error(what, "connection", "see to the server and the network"), True, sent)
        if isinstance(data, Fault):
            return data
        return self._answer(reply, data) if reply.status_code == 200 else self._refusal(reply, data)

    def _read(self, reply: httpx.Response) -> bytes | Fault:
        """The body, as far as time and size allow; a drip of bytes never outlasts `timeout_s` by much."""
        most, stop = self._options.max_reply_bytes, time.monotonic() + self._options.timeout_s
        data = bytearray()
        # Not decompressed: that was not asked for, and a small bomb would grow past the limit in one step.
        for chunk in reply.iter_raw():
            data += chunk
            if len(data) > most:
                error = self._error(f"reply of more than {most} bytes", "too_large", "raise max_reply_bytes")
                return Fault(error, False, True)
            if time.monotonic() > stop:
                return Fault(self._error("reply too slow", "timeout", "raise timeout_s"), True, True)
        return bytes(data)

    def _answer(self, reply: httpx.Response, data: bytes) -> dict[str, Any] | Fault:
        kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            what = f"reply is {kind[:60] or 'of no type'}, not JSON"
            return Fault(self._error(what, "server", "check base_url"), True, True)
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            return Fault(self._error("reply is cut short or no JSON", "broken_json", ""), True, True)
        if not isinstance(found, dict):
            return Fault(self._error("reply is no JSON object", "broken_json", ""), True, True)
        return found

    def _refusal(self, reply: httpx.Response, data: bytes) -> Fault:
        status = reply.status_code
        what = f"HTTP status {status}{self._told(data)}"
        if status in _BUSY:
            reason = "rate_limited" if status == 429 else "timeout" if status in (408, 524) else "server"
            wait = retry_after(reply.headers.get("retry-after"))
            return Fault(self._error(what, reason, "ask for less at a time, or later"), True, False, wait)
        if status in (401, 403):
            fix = f"check the key in {self._options.key_env}"
            return Fault(self._error(what, "auth", fix), False)
        fix = "check base_url, model and answer (json_schema, json_object, text)"
        return Fault(self._error(what, "rejected", fix), False)

    def _told(self, data: bytes) -> str:
        """What the server says of an error, shortened, without the key that some servers repeat."""
        try:
            message = json.loads(data)["error"]["message"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""
        text = " ".join(str(message).split())
        return f": {self.hide(text)[:200]}"

    def hide(self, text: str) -> str:
        """The text without the key."""
        return text.replace(self._key, "[key]") if self._key else text

    def _error(self, what: str, reason: str, fix: str) -> CaptionError:
        return CaptionError(what, reason=reason, where=self._options.url, fix=fix)


def retry_after(value: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3: seconds or a date), else None."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now())
    except (ValueError, TypeError):
        return None
