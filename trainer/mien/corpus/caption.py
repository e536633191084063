"""What a captioner gives back: a caption that fits the schema, what it took, or why there is none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mien.errors import DataError

REASONS = frozenset(
    (
        "auth", "broken_json", "budget", "connection", "picture", "rate_limited", "refused", "rejected",
        "schema", "server", "timeout", "too_large", "units",
    )
)  # fmt: skip
"""Why a picture got no caption. `auth` and `budget` concern every picture, the others this one."""

Region = Literal[
    "eyes", "brows", "forehead", "nose", "cheeks", "nasolabial", "mouth", "jaw_chin", "head_gaze", "other"
]
Sentence = Annotated[str, Field(min_length=1, max_length=1000)]
Unit = Annotated[int, Field(ge=1, le=99)]


class CaptionError(DataError):
    """A picture that got no caption.

    Args:
        what: one sentence without a full stop.
        reason: a code of `REASONS`.
        where: picture or address that it concerns.
        fix: what the user can do about it.

    Attributes:
        usage: what the attempt took nevertheless; None where nothing is known of it.
    """

    usage: Usage | None = None

    def __init__(self, what: str, *, reason: str, where: object = "", fix: str = "") -> None:
        super().__init__(what, where=where, fix=fix)
        self.reason = reason


class LocalCaption(BaseModel):
    """A sentence about one area of the face: what it shows, FACS units it asserts, their grade."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    text: Sentence
    region: Region
    au: Annotated[list[Unit], Field(max_length=12)]
    intensity: Literal["low", "moderate", "high"] | None


class CaptionRecord(BaseModel):
    """The caption keys of a sample's record (spec, section 2): three to eight local sentences."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    global_: Annotated[Sentence, Field(alias="global")]
    locals: Annotated[list[LocalCaption], Field(min_length=3, max_length=8)]
    summary: Sentence

    def record(self) -> dict[str, Any]:
        """`{"global": str, "locals": [{"text", "region", "au", "intensity"}], "summary": str}`."""
        return self.model_dump(by_alias=True)


@dataclass(frozen=True)
class Usage:
    """What captions took: tokens in and out, US dollars, seconds, requests; `cached`: from the disk."""

    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    seconds: float = 0.0
    requests: int = 0
    cached: bool = False


@dataclass(frozen=True)
class Captioned:
    """A caption and what it took."""

    caption: CaptionRecord
    usage: Usage = Usage()

    def record(self) -> dict[str, Any]:
        """The caption keys of a sample's record."""
        return self.caption.record()


def parse_caption(text: str) -> CaptionRecord:
    """A caption from JSON text; a Markdown fence around it is taken off.

    Raises:
        CaptionError: reason `broken_json` if it is no JSON object, `schema` if it does not fit; the message
            names each fault by its path, fit for telling a model what to mend.
    """
    body = text.strip()
    if body.startswith("```"):
        body = body.strip("`").removeprefix("json").strip()
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CaptionError(f"not valid JSON: {error}", reason="broken_json") from error
    if not isinstance(found, dict):
        raise CaptionError(f"JSON holds a {type(found).__name__}, not an object", reason="broken_json")
    return check_caption(found)


def check_caption(found: dict[str, Any]) -> CaptionRecord:
    """The same of an object that is parsed already.

    Raises:
        CaptionError: reason `schema`.
    """
    try:
        return CaptionRecord.model_validate(found)
    except ValidationError as error:
        raise CaptionError(describe_faults(error), reason="schema") from error


def describe_faults(error: ValidationError, most: int = 5) -> str:
    """The first faults that pydantic found, each with its path, on one line."""
    faults = error.errors(include_url=False, include_input=False)
    lines = [f"{'.'.join(map(str, fault['loc'])) or 'object'}: {fault['msg']}" for fault in faults[:most]]
    more = f", and {len(faults) - most} more" if len(faults) > most else ""
    return "; ".join(lines) + more
