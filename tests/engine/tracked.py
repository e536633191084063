"""Rows in the files that W&B writes offline: a log of protocol buffers in blocks of 32 KiB."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from wandb.proto import wandb_internal_pb2 as messages

_FILE_HEADER, _BLOCK, _RECORD_HEADER = 7, 32_768, 7
_FULL, _FIRST, _LAST = 1, 2, 4


def tracked_rows(run: Path) -> list[dict[str, float]]:
    """Rows of all sessions of a run, in the order in which they were written."""
    files = sorted(run.glob("wandb/offline-run-*/*.wandb"))
    return [row for file in files for row in _rows(file.read_bytes())]


def tracked_kinds(run: Path) -> Counter[str]:
    """How many records of each kind W&B wrote."""
    files = sorted(run.glob("wandb/offline-run-*/*.wandb"))
    found: Counter[str] = Counter()
    for record in (record for file in files for record in _records(file.read_bytes())):
        message = messages.Record()
        message.ParseFromString(record)
        found[message.WhichOneof("record_type") or ""] += 1
    return found


def _rows(data: bytes) -> list[dict[str, float]]:
    rows = []
    for record in _records(data):
        message = messages.Record()
        message.ParseFromString(record)
        if message.WhichOneof("record_type") == "history":
            items = message.history.item
            rows.append(
                {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            )
    return rows


def _records(data: bytes) -> list[bytes]:
    """Whole records; one that a kill cut short is left out."""
    records, parts, place = [], b"", _FILE_HEADER
    while place + _RECORD_HEADER <= len(data):
        room = _BLOCK - place % _BLOCK
        if room < _RECORD_HEADER:  # the tail of a block is padding
            place += room
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        body = data[place + _RECORD_HEADER : place + _RECORD_HEADER + length]
        parts = body if kind in (_FULL, _FIRST) else parts + body
        if kind in (_FULL, _LAST) and len(body) == length:
            records.append(parts)
        place += _RECORD_HEADER + length
    return records
