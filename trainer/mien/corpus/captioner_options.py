"""Options of a captioner behind an HTTP endpoint: from a YAML file and KEY=VALUE, checked at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien.corpus.caption import describe_faults
from mien.errors import DataError

LARGEST = 1 << 16
"""Bytes of an options file at most."""

Positive = Annotated[float, Field(gt=0)]
Price = Annotated[float, Field(ge=0)]


class HttpOptions(BaseModel):
    """How to reach a vision model of an OpenAI-compatible endpoint, and what it may take.

    Attributes:
        base_url: address before `/chat/completions`, such as `http://localhost:8000/v1`.
        model: its name at the endpoint.
        key_env: environment variable that holds the key; never the key itself.
        prompt: YAML file instead of the packaged prompt.
        hints: whether the model is told which action units a meter has seen.
        temperature: in [0, 0.4] (spec, section 2).
        max_tokens: of an answer.
        answer: how JSON is asked for: by schema, as any object, or by the prompt alone.
        tries: answers asked for until one fits the schema.
        attempts: requests sent for one answer while the server is busy or away.
        timeout_s: of one request, from connecting to the last byte.
        longest_wait_s: the longest pause between two attempts; a server that asks for more is given up.
        requests_per_minute, tokens_per_minute: over all threads; None is no limit.
        concurrency: requests under way at most.
        usd_per_million_in, usd_per_million_out: prices of tokens.
        budget_usd: hard limit, over all runs that share `cache`.
        picture_tokens: what a picture may count as, until the endpoint has told.
        cache: folder of captions and of the account; None keeps nothing.
        max_reply_bytes: a longer reply is given up.
        allow_http: let an address without TLS be another machine's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str
    model: Annotated[str, Field(min_length=1, max_length=200)]
    key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "OPENAI_API_KEY"
    prompt: Path | None = None
    hints: bool = False
    temperature: Annotated[float, Field(ge=0, le=0.4)] = 0.2
    max_tokens: Annotated[int, Field(ge=64, le=8192)] = 1024
    answer: Literal["json_schema", "json_object", "text"] = "json_schema"
    tries: Annotated[int, Field(ge=1, le=3)] = 3
    attempts: Annotated[int, Field(ge=1, le=20)] = 5
    timeout_s: Positive = 60.0
    longest_wait_s: Positive = 120.0
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    usd_per_million_in: Price = 0.0
    usd_per_million_out: Price = 0.0
    budget_usd: Price | None = None
    picture_tokens: Annotated[int, Field(ge=0)] = 1500
    cache: Path | None = None
    max_reply_bytes: Annotated[int, Field(ge=1024)] = 1 << 20
    allow_http: bool = False

    @property
    def url(self) -> str:
        """Where requests go."""
        return self.base_url.rstrip("/") + "/chat/completions"

    @property
    def local(self) -> bool:
        """Whether the endpoint is this machine."""
        return urlsplit(self.base_url).hostname in ("localhost", "127.0.0.1", "::1")

    def key(self) -> str | None:
        """The key from the environment; None where the endpoint is this machine and there is none.

        Raises:
            DataError: if a key is needed and absent, or no header can hold it.
        """
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            if self.local:
                return None
            raise DataError(
                "no key for the endpoint", where=self.key_env, fix="set this environment variable"
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise DataError("not a key", where=self.key_env, fix="set it to the key alone, on one line")
        return key


def load_options(file: Path | None = None, changes: Sequence[str] = ()) -> HttpOptions:
    """Options from a YAML file, then KEY=VALUE.

    Raises:
        DataError: for a file that cannot be read, an unknown key, a wrong value, an address that holds a
            password, or one without TLS.
    """
    rows = _read(file) if file else {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise DataError(f"{change!r} is no option", where="options", fix="write KEY=VALUE")
        rows[name.strip()] = _value(value, change)
    return make_options(rows, file or "options")


def make_options(rows: dict[str, Any], where: object = "options") -> HttpOptions:
    """Options from values, checked as `load_options` does."""
    try:
        options = HttpOptions.model_validate(rows)
    except ValidationError as error:
        known = ", ".join(HttpOptions.model_fields)
        raise DataError(describe_faults(error), where=where, fix=f"options are: {known}") from error
    _check_address(options, where)
    if options.budget_usd is not None and not options.usd_per_million_in + options.usd_per_million_out:
        fix = "give usd_per_million_in and usd_per_million_out"
        raise DataError("a budget without prices", where=where, fix=fix)
    return options


def _read(file: Path) -> dict[str, Any]:
    fix = "write `base_url:` and `model:`, one a line"
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST + 1)
        rows = yaml.safe_load(data.decode("utf-8")) if len(data) <= LARGEST else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"cannot be read: {str(error).splitlines()[0]}", where=file, fix=fix) from error
    if not isinstance(rows, dict) or not all(isinstance(name, str) for name in rows):
        raise DataError("no options in it, or too many bytes", where=file, fix=fix)
    return rows


def _value(text: str, where: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError("value cannot be read", where=where, fix="put it in quotes") from error


def _check_address(options: HttpOptions, where: object) -> None:
    try:
        parts = urlsplit(options.base_url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise DataError("base_url is no address", where=where, fix="write https://HOST/v1") from error
    if parts.scheme not in ("http", "https") or not host:
        raise DataError("base_url is no address", where=where, fix="write https://HOST/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        fix = "put the key into an environment variable and name that in key_env"
        raise DataError("base_url holds a user, a password or a query", where=where, fix=fix)
    if parts.scheme == "http" and not options.local and not options.allow_http:
        fix = "use https, or set allow_http=true in a network that you trust"
        raise DataError("base_url sends the key and pictures in the clear", where=where, fix=fix)
