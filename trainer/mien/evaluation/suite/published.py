"""Published rows of the paper and of its baselines, beside ours (spec emocapclip, section 6.2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from mien.evaluation.suite.embed import ProtocolName


@dataclass(frozen=True)
class Published:
    """A published number of one method on one benchmark.

    Attributes:
        method: as published.
        benchmark: name.
        uar: main metric in percent (UAR of classes, accuracy of questions).
        war: accuracy in percent, where stated.
        protocol: `unstated`, or the protocol that it was measured with.
        source: paper or repository.
        note: how exact it is.
    """

    method: str
    benchmark: str
    uar: float
    war: float | None
    protocol: str
    source: str
    note: str


@cache
def all_published() -> tuple[Published, ...]:
    """Every number of `published.yaml`, in its order."""
    text = (resources.files("mien.evaluation.suite") / "published.yaml").read_text(encoding="utf-8")
    found = []
    for part in yaml.safe_load(text).values():
        for method, cells in part["rows"].items():
            for name, cell in zip(part["columns"], cells, strict=True):
                if str(cell) != "-":
                    first, _, second = str(cell).lstrip("~").partition("/")
                    metric = part.get("metrics", {}).get(name)
                    note = (
                        "read off the chart, error +-0.5"
                        if str(cell)[0] == "~"
                        else part["note"].split(";")[0]
                    )
                    note += f"; metric {metric}" if metric else ""
                    found.append(
                        Published(
                            method, name, float(first), float(second) if second else None,
                            part["protocol"], part["source"], note,
                        )
                    )  # fmt: skip
    return tuple(found)


def published(benchmark: str, protocol: ProtocolName) -> list[Published]:
    """Rows that may stand in a table of that protocol: of the same one, or of none that is stated."""
    return [
        one
        for one in all_published()
        if one.benchmark == benchmark and one.protocol in ("unstated", protocol)
    ]
