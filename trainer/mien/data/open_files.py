"""Files that stay open between reads, a bounded number of them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import OrderedDict


class OpenFiles(ABC):
    """Keeps handles by name and closes the one that was used longest ago; subclasses set `_open`.

    Safe across fork for those who read with `pread`, which shares no file position.
    """

    _open: OrderedDict[str, int]

    @abstractmethod
    def _room(self) -> int:
        """How many may be open."""

    @abstractmethod
    def _open_file(self, file: str) -> int:
        """A new handle."""

    def _handle(self, file: str) -> int:
        handle = self._open.get(file)
        if handle is None:
            handle = self._open_file(file)
            while len(self._open) >= self._room():
                os.close(self._open.popitem(last=False)[1])
            self._open[file] = handle
        elif len(self._open) >= self._room():  # only then does the order matter
            self._open.move_to_end(file)
        return handle

    def close(self) -> None:
        """Close every open file; they open again when needed."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __del__(self) -> None:
        if hasattr(self, "_open"):
            self.close()
