"""Captions from a vision model behind an OpenAI-compatible endpoint (spec, section 2, step 3)."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mien.corpus.caption import Captioned, CaptionError, CaptionRecord, Usage, parse_caption
from mien.corpus.caption_budget import Budget
from mien.corpus.caption_cache import CaptionCache
from mien.corpus.caption_gates import is_refusal
from mien.corpus.caption_limits import TokenBucket
from mien.corpus.caption_prompt import load_prompt, tell_units
from mien.corpus.captioner_options import HttpOptions
from mien.corpus.captioner_wire import Fault, Wire
from mien.data.decode import image_size
from mien.errors import DataError

LARGEST_PICTURE = 8 << 20
"""Bytes of a picture at most."""


@dataclass
class _Tally:
    """What one picture has taken so far."""

    started: float = field(default_factory=time.monotonic)
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    requests: int = 0

    def usage(self) -> Usage:
        seconds = time.monotonic() - self.started
        return Usage(self.tokens_in, self.tokens_out, self.usd, seconds, self.requests)


class HttpCaptioner:
    """Asks an endpoint for a caption of a picture; threads may share it.

    A request that may have been worked on without a readable reply (time out, reset, broken reply) counts as
    the most it can cost: the account never says less than the bill.

    Args:
        options: address, model, limits.
        sleep: how to wait, in seconds.

    Raises:
        DataError: without a key where one is needed, or for a `cache` that cannot be made.
    """

    def __init__(self, options: HttpOptions, sleep: Callable[[float], None] = time.sleep) -> None:
        self._options = options
        self._prompt = load_prompt(options.prompt, options.hints)
        self.uses_units = options.hints
        self.name = options.model
        self.prompt_sha = self._prompt.sha
        self._wire = Wire(options, sleep)
        self._open_folder()
        self._cache = CaptionCache(options.cache)
        self.budget = Budget(options.cache, options.budget_usd)
        self._requests = TokenBucket(options.requests_per_minute, sleep=sleep)
        self._tokens = TokenBucket(options.tokens_per_minute, sleep=sleep)
        self._slots = threading.BoundedSemaphore(options.concurrency)
        self._picture_tokens = options.picture_tokens
        self._closed: CaptionError | None = None

    def _open_folder(self) -> None:
        if self._options.cache is not None:
            try:
                self._options.cache.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                what = f"cannot be made: {error.strerror}"
                raise DataError(what, where=self._options.cache, fix="give another cache") from error

    def __call__(self, picture: bytes, units: Mapping[int, tuple[float, float]] | None = None) -> Captioned:
        """The caption of a JPEG or PNG.

        Args:
            picture: its bytes.
            units: told to the model only where the option `hints` is on: otherwise its word stays independent
                of the meter's, by which it is judged.

        Raises:
            CaptionError: if there is none; `reason` says why, `usage` what was asked in vain.
        """
        hints = self._hints(units)
        key = self._key_of(picture, hints)
        if (known := self._cache.get(key)) is not None:
            return Captioned(known, Usage(cached=True))
        if self._closed is not None:
            raise self._closed
        tally = _Tally()
        with self._slots:
            try:
                caption = self._converse(picture, hints, tally)
            except CaptionError as error:
                error.usage = tally.usage()
                if error.reason == "auth":
                    self._closed = error
                raise
        usage = tally.usage()
        about = {"tokens_in": usage.tokens_in, "tokens_out": usage.tokens_out, "usd": usage.usd}
        self._cache.put(key, caption, about)
        return Captioned(caption, usage)

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def _hints(self, units: Mapping[int, tuple[float, float]] | None) -> str:
        """What the model is told of measured units, "" for nothing."""
        return self._prompt.hints.replace("{units}", tell_units(units)) if units is not None else ""

    def _key_of(self, picture: bytes, hints: str) -> dict[str, Any]:
        return {
            "picture": hashlib.sha256(picture).hexdigest(),
            "prompt": self.prompt_sha,
            "model": self._options.model,
            "temperature": self._options.temperature,
            **({"hints": hints} if hints else {}),
        }

    def _converse(self, picture: bytes, hints: str, tally: _Tally) -> CaptionRecord:
        """Asks until an answer fits; a fault of the answer is told to the model."""
        messages = self._messages(picture, hints)
        for left in reversed(range(self._options.tries)):
            text = self._say(messages, tally)
            try:
                return parse_caption(text)
            except CaptionError as error:
                if is_refusal(text):
                    raise self._refused(text) from error
                if not left:
                    raise CaptionError(
                        f"{error.what} (after {self._options.tries} tries)",
                        reason=error.reason,
                        where=self._options.url,
                        fix="try another model, or answer=json_schema",
                    ) from error
                problem = self._prompt.repair.replace("{problem}", error.what)
            messages = [
                *messages[:2],
                {"role": "assistant", "content": text[:8000]},
                {"role": "user", "content": problem},
            ]
        raise AssertionError("unreachable: the last try returns or raises")

    def _messages(self, picture: bytes, hints: str) -> list[dict[str, Any]]:
        if len(picture) > LARGEST_PICTURE:
            what = f"picture of more than {LARGEST_PICTURE} bytes"
            raise CaptionError(what, reason="picture", fix="make it smaller")
        try:
            image_size(picture)
        except DataError as error:
            raise CaptionError(error.what, reason="picture", fix=error.fix) from error
        kind = "png" if picture[:4] == b"\x89PNG" else "jpeg"
        url = f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
        content = [
            {"type": "text", "text": f"{self._prompt.task}\n{hints}" if hints else self._prompt.task},
            {"type": "image_url", "image_url": {"url": url}},
        ]
        return [{"role": "system", "content": self._prompt.system}, {"role": "user", "content": content}]

    def _say(self, messages: list[dict[str, Any]], tally: _Tally) -> str:
        """The text of one answer; every attempt is counted and paid for."""
        options = self._options
        body = {
            "model": options.model,
            "messages": messages,
            "temperature": options.temperature,
            "max_tokens": options.max_tokens,
            **_format(options.answer),
        }
        guess = self._guess(messages)
        most = self._price(guess, options.max_tokens)

        def before() -> None:
            self.budget.reserve(most)
            tally.requests += 1
            self._requests.take()
            self._tokens.take(guess + options.max_tokens)

        def failed(fault: Fault) -> None:
            usd = most if fault.billed else 0.0
            self.budget.settle(most, usd)
            tally.usd += usd

        reply = self._wire.ask(body, before, failed)
        self._account(reply, guess, most, tally)
        return self._text(reply)

    def _guess(self, messages: list[dict[str, Any]]) -> int:
        """Tokens that the messages may count as: a token has three letters or more in most English text."""
        letters = 0
        for message in messages:
            content = message["content"]
            texts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
            letters += sum(map(len, texts))
        return letters // 3 + self._picture_tokens

    def _price(self, tokens_in: int, tokens_out: int) -> float:
        options = self._options
        return (tokens_in * options.usd_per_million_in + tokens_out * options.usd_per_million_out) / 1e6

    def _account(self, reply: dict[str, Any], guess: int, most: float, tally: _Tally) -> None:
        """Books what the reply says it took; what it leaves out counts as the most that it can be."""
        said = reply.get("usage")
        said = said if isinstance(said, dict) else {}
        tokens_in = _count(said.get("prompt_tokens"), guess)
        tokens_out = _count(said.get("completion_tokens"), self._options.max_tokens)
        # Dearer pictures than thought: set more aside from now on.
        self._picture_tokens += max(0, tokens_in - guess)
        usd = self._price(tokens_in, tokens_out)
        self.budget.settle(most, usd)
        self._tokens.correct(tokens_in + tokens_out - guess - self._options.max_tokens)
        tally.tokens_in += tokens_in
        tally.tokens_out += tokens_out
        tally.usd += usd

    def _text(self, reply: dict[str, Any]) -> str:
        try:
            choice = reply["choices"][0]
            message = choice["message"]
            content, refusal = message.get("content"), message.get("refusal")
            ended = choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            fix = "check that the endpoint speaks the chat completions protocol"
            raise CaptionError(
                "reply without choices", reason="server", where=self._options.url, fix=fix
            ) from error
        if refusal or ended == "content_filter":
            raise self._refused(str(refusal or "content filter"))
        return content if isinstance(content, str) else ""

    def _refused(self, text: str) -> CaptionError:
        told = self._wire.hide(" ".join(text.split()))[:120]
        return CaptionError(f"the model refuses: {told}", reason="refused", where=self._options.url)


def _count(value: object, otherwise: int) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9
    return value if whole and isinstance(value, int) else otherwise


def _format(answer: str) -> dict[str, Any]:
    if answer == "text":
        return {}
    if answer == "json_object":
        return {"response_format": {"type": "json_object"}}
    schema = {"name": "caption", "strict": True, "schema": CaptionRecord.model_json_schema(by_alias=True)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}
