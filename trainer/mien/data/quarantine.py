"""Damaged samples: each is written to a ledger with its reason, counted, and fatal beyond a stated share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mien.errors import DataError


@dataclass(frozen=True, slots=True)
class Fault:
    """A damaged sample: index in the set, shard file, key (empty if unreadable) and reason."""

    index: int
    shard: str
    key: str
    reason: str


class Quarantine:
    """The ledger of one set in one run; every rank appends to the same file, a line at a time.

    Lines of other ranks and of the run before a restart count too, and no sample is written twice by a
    process. Only the main process of a rank records: workers hand their faults over with the batch.

    Args:
        ledger: JSON-lines file, created with its first entry; None keeps the record in memory only.
        sha: `ShardSet.sha` of the set; entries of other sets in the same ledger are left aside.
        size: samples in the set.
        fraction: share of the set that may be damaged, in [0, 1].
    """

    def __init__(self, ledger: Path | None, *, sha: str, size: int, fraction: float) -> None:
        self.ledger = ledger
        self.sha = sha
        self.size = size
        self.fraction = fraction
        self._known: set[int] = set()
        self._read = 0
        self._catch_up()

    @property
    def count(self) -> int:
        """Distinct damaged samples known so far."""
        return len(self._known)

    def record(self, faults: Iterable[Fault]) -> None:
        """Add damaged samples to the ledger.

        Raises:
            DataError: if more than `fraction` of the set is damaged; names the ledger.
        """
        found = {fault.index: fault for fault in faults}
        if not found:
            return
        new = [fault for index, fault in found.items() if index not in self._known]
        self._known.update(found)
        if self.ledger is not None and new:
            self._append(new)
            self._catch_up()
        # Also where nothing is new: a run that stopped for its damage must not get past it by starting again.
        if self.count > self.fraction * self.size:
            first = next(iter(found.values()))
            raise DataError(
                f"{self.count} of {self.size} samples are damaged, more than {self.fraction:.3g} of the set "
                f"(the newest: {first.shard}: {first.reason})",
                where=self.ledger or "quarantine",
                fix="run `mien data check`, or raise data.quarantine_fraction",
            )

    def _append(self, faults: Iterable[Fault]) -> None:
        lines = "".join(json.dumps({"set": self.sha[:16], **asdict(fault)}) + "\n" for fault in faults)
        assert self.ledger is not None
        self.ledger.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.ledger, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                lines = "\n" + lines  # a crash in the middle of a write left a torn line: do not add to it
            os.write(handle, lines.encode())  # one write in append mode: ranks do not tear each other's lines
        finally:
            os.close(handle)

    def _catch_up(self) -> None:
        """Take in whole lines that appeared in the ledger since the last look."""
        if self.ledger is None or not self.ledger.is_file():
            return
        with self.ledger.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                entry = _entry(line)
                if entry.get("set") == self.sha[:16] and isinstance(entry.get("index"), int):
                    self._known.add(entry["index"])


def _entry(line: bytes) -> dict[str, Any]:
    """A ledger line; empty for one torn by a crash in the middle of a write."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
