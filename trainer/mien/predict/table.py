"""Readings on the terminal."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from mien.predict.reader import PRESENT, Reading


def print_readings(readings: Sequence[Reading], console: Console | None = None) -> None:
    """Print a row an input: class, probabilities of the first two, units, nearest caption."""
    table = Table(title="What the run reads", caption="A reading of a face is not the truth about a person.")
    for head in ("input", "reads as", "then", "action units"):
        table.add_column(head, overflow="fold")
    told = any(reading.captions for reading in readings)
    if told:
        table.add_column("nearest caption", overflow="fold")
    for reading in readings:
        first, second = reading.probabilities.argsort()[::-1][:2] if len(reading.classes) > 1 else (0, 0)
        cells = [reading.media.path.name, _share(reading, first), _share(reading, second)]
        cells.append(" ".join(f"{n}" for n, value in reading.units.items() if value >= PRESENT) or "none")
        if told:
            cells.append(textwrap.shorten(reading.captions[0][0], 90) if reading.captions else "-")
        table.add_row(*cells)
    # A file or a pipe has no width of its own.
    (console or Console(width=None if sys.stdout.isatty() else 140)).print(table)


def _share(reading: Reading, place: int) -> str:
    return f"{reading.classes[place]} {100 * reading.probabilities[place]:.0f} %"
