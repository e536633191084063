"""Where a set lies: a local folder, or a URL of an fsspec file system (`https://host/set`, `s3://bucket/set`).

A URL holds no credentials: recipes are copied into run folders and trackers. They come from the environment,
as the library of each file system takes them (`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, `.netrc`); so does the
address of an S3-compatible server (`AWS_ENDPOINT_URL`).
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from mien.errors import DataError

_NO_HOST = ("file", "local", "memory")


def locate(shards: str | Path) -> Path | str:
    """A folder as Path, or a URL without its last slash.

    Raises:
        DataError: for a URL that holds a user, a password or a query, or chains file systems. The message
            never repeats it.
    """
    text = str(shards)
    if "://" not in text:
        return Path(shards)
    protocol, _, rest = text.partition("://")
    if "::" in text or not protocol.replace("+", "").isalnum():
        raise DataError("a chain of file systems", where=f"{protocol}://...", fix="give one plain URL")
    if "@" in rest.partition("/")[0] or urlsplit(text).password is not None:
        what = "the URL holds a user name or a password"
        raise DataError(
            what, where=f"{protocol}://...", fix="take it out; credentials come from the environment"
        )
    if "?" in text or "#" in text:
        what = "the URL holds a query, which cannot be joined with file names"
        raise DataError(what, where=f"{protocol}://...", fix="give the URL of the folder")
    if not rest.strip("/") or (protocol not in _NO_HOST and rest.startswith("/")):
        raise DataError(
            "the URL names no folder", where=text, fix="write s3://bucket/set or https://host/set"
        )
    return text.rstrip("/")


def within(folder: Path | str, file: str) -> str:
    """Path or URL of a file of a set, for messages and requests."""
    return f"{folder}/{file}"
