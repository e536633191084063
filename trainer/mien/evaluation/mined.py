"""What the rules of mining find in a whole set, and how right it is where the set knows its action units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien.data.neighbours import Neighbours
from mien.data.reader import ShardSet
from mien.data.together import grouped
from mien.evaluation.metrics import Interval, bootstrap, hit_rate
from mien.recipe import Recipe
from mien.systems.emocapclip.config import MiningConfig
from mien.systems.emocapclip.whole_set import Embedded, mine_embedded

RULES = ("random", "image", "text", "consensus", "swap", "union")
"""Rules of the report. `random`: pairs that mining may take, drawn at random. `swap`: both directions."""
_NEAR = 0.1  # share of random pairs that count as near
_BESIDE = 3

Lists = NDArray[np.int64]
"""Positives of each sample [N, K], -1 where there is none."""


@dataclass(frozen=True)
class RuleFound:
    """What one rule found; shares are fractions, NaN where the set does not know."""

    rule: str
    lists: Lists
    rows: float
    """Share of usable samples with a positive."""
    mean: float
    """Positives a usable sample, mean."""
    same_person: float
    """Share of positives that show the anchor's person."""
    same_movie: float
    """Share of positives from the anchor's movie; the specification's alarm is 5 %."""
    same_label: float
    distance: Interval | None
    """AU distance of anchor and positive, mean, with its interval over the anchors' people."""
    near: Interval | None
    """Share of positives that are nearer than nine in ten random pairs."""
    batch_plain: float
    """Share of usable samples that meet a positive of theirs in a global batch of the plain order."""
    batch_together: float
    """The same in the order that places neighbours beside each other."""


@dataclass(frozen=True)
class MinedReport:
    """All rules, and what was measured on."""

    rules: tuple[RuleFound, ...]
    records: list[dict[str, Any]]
    distances: NDArray[np.float32] | None
    """AU strengths [N, U] behind the distances: the stronger side, in [0, 1]; None without `au`."""
    facts: Mapping[str, Any] = field(default_factory=dict)


def strengths(records: Sequence[Mapping[str, Any]]) -> NDArray[np.float32] | None:
    """AU intensities [N, U] in [0, 1], of two sides the stronger, units in rising order; None without any.

    The AU distance of two samples is the L1 distance of their rows, in units of full intensity.
    """
    numbers = sorted({int(unit) for record in records for unit in record.get("au") or {}})
    if not numbers:
        return None
    place = {unit: column for column, unit in enumerate(numbers)}
    values = np.zeros((len(records), len(numbers)), np.float32)
    for row, record in enumerate(records):
        for unit, sides in (record.get("au") or {}).items():
            values[row, place[int(unit)]] = max(map(float, sides))
    return values


def random_lists(embedded: Embedded, k: int, seed: int) -> Lists:
    """Random partners [N, k] that mining may take: usable, of another image and another group."""
    rng = np.random.default_rng(seed)
    usable = embedded.valid.numpy()
    pool = np.flatnonzero(usable)
    uid, grp = embedded.uid.numpy(), embedded.grp.numpy()
    lists = np.full((len(usable), k), -1, np.int64)
    for row in pool.tolist():
        drawn = dict.fromkeys(rng.choice(pool, min(len(pool), 4 * k), replace=False).tolist())
        fits = [
            other for other in drawn
            if uid[other] != uid[row] and (grp[row] < 0 or grp[other] != grp[row])
        ][:k]  # fmt: skip
        lists[row, : len(fits)] = fits
    return lists


def lists_of(table: Neighbours) -> Lists:
    """Positives of both directions of a table [N, K or 2K]; a sample that both name is named once."""
    if table.ab is table.ba:
        return table.ab.indices.astype(np.int64)
    both = np.concatenate([table.ab.indices, table.ba.indices], axis=1).astype(np.int64)
    split = table.ab.indices.shape[1]
    twice = (both[:, split:, None] == both[:, None, :split]).any(2)
    both[:, split:][twice] = -1
    return both


def measure_rules(
    embedded: Embedded,
    config: MiningConfig,
    shards: ShardSet,
    recipe: Recipe,
    facts: Mapping[str, Any],
    *,
    batch: int | None = None,
    seed: int = 0,
) -> MinedReport:
    """Mine a set by each of `RULES` and measure what was found.

    Args:
        embedded: the set.
        config: numbers and thresholds; its rule is not read.
        shards: the set, for its records and its order.
        recipe: for the order of its samples.
        facts: what to say of the origin.
        batch: samples of a global batch, for how many meet a positive; None takes the recipe's.
        seed: of random pairs and intervals.
    """
    batch = batch or recipe.engine.global_batch
    records = [
        shards.read(index).record if usable else {} for index, usable in enumerate(embedded.valid.tolist())
    ]
    truth = strengths(records)
    drawn = random_lists(embedded, max(config.k, 8), seed)
    cut = None if truth is None else float(np.quantile(_distances(truth, drawn)[drawn >= 0], _NEAR))
    found = []
    for rule in RULES:
        if rule == "random":
            lists = drawn[:, : config.k]
        else:
            wanted = config.model_copy(update={"rule": rule, "ignore": 0})
            lists = lists_of(mine_embedded(embedded, wanted, shards.sha, {}))
        found.append(_measure(rule, lists, embedded, records, truth, cut, shards, recipe, batch, seed))
    told = {
        **facts, "samples": len(embedded), "usable": int(embedded.valid.sum()), "k": config.k,
        "threshold": config.threshold, "global_batch": batch, "beside": _BESIDE,
        "units": 0 if truth is None else truth.shape[1], "near_cut": cut, "set_sha": shards.sha,
    }  # fmt: skip
    return MinedReport(tuple(found), records, truth, told)


def batch_share(order: Lists, lists: Lists, batch: int, usable: NDArray[np.bool_]) -> float:
    """Share of usable samples that have one of their positives in their own batch.

    Args:
        order: a permutation [N], cut into batches from its start.
        lists: positives [N, K].
        batch: samples of a batch.
        usable: bool [N].
    """
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order)) // batch
    meets = np.any((number[lists] == number[:, None]) & (lists >= 0), axis=1)
    return float(meets[usable].mean()) if usable.any() else float("nan")


def _measure(
    rule: str, lists: Lists, embedded: Embedded, records: list[dict[str, Any]],
    truth: NDArray[np.float32] | None, cut: float | None, shards: ShardSet, recipe: Recipe, batch: int,
    seed: int,
) -> RuleFound:  # fmt: skip
    usable, real = embedded.valid.numpy(), lists >= 0
    plain = shards.order(recipe.seed, recipe.data.shuffle_block).epoch(0)
    distance = near = None
    if truth is not None and cut is not None and real.any():
        people = [str(record.get("group", index)) for index, record in enumerate(records)]
        between = _distances(truth, lists)
        count = real.sum(1).astype(np.float64)
        sums = np.where(real, between, 0).sum(1, dtype=np.float64)
        hits = (real & (between <= cut)).sum(1).astype(np.float64)
        distance = bootstrap(hit_rate, np.stack([sums, count], 1), people, seed=seed)
        near = bootstrap(hit_rate, np.stack([hits, count], 1), people, seed=seed)
    return RuleFound(
        rule, lists,
        rows=float((real.sum(1) > 0)[usable].mean()),
        mean=float(real.sum(1)[usable].mean()),
        same_person=_agreement(records, "group", lists),
        same_movie=_agreement(records, "movie", lists),
        same_label=_agreement(records, "label", lists),
        distance=distance, near=near,
        batch_plain=batch_share(plain, lists, batch, usable),
        batch_together=batch_share(grouped(plain, lists, _BESIDE), lists, batch, usable),
    )  # fmt: skip


def _distances(truth: NDArray[np.float32], lists: Lists) -> NDArray[np.float32]:
    """L1 distance of each sample and its partners [N, K]; meaningless where there is none."""
    return (
        torch.from_numpy(truth)[torch.from_numpy(lists)]
        .sub(torch.from_numpy(truth)[:, None])
        .abs()
        .sum(2)
        .numpy()
    )


def _agreement(records: list[dict[str, Any]], key: str, lists: Lists) -> float:
    """Share of positives whose record has the anchor's value of a key; NaN where none has one."""
    names: dict[str, int] = {}
    codes = np.array(
        [-1 if r.get(key) is None else names.setdefault(str(r[key]), len(names)) for r in records]
    )
    known = (lists >= 0) & (codes[:, None] >= 0)
    if not known.any():
        return float("nan")
    return float((codes[lists] == codes[:, None])[known].mean())


def rows_of(report: MinedReport) -> list[dict[str, str]]:
    """The table as text, one row a rule; the columns stand in order."""

    def share(value: float) -> str:
        return "-" if np.isnan(value) else f"{100 * value:.1f}"

    def interval(value: Interval | None, scale: float, digits: int) -> str:
        if value is None:
            return "-"
        parts = (f"{scale * part:.{digits}f}" for part in (value.value, value.low, value.high))
        middle, low, high = parts
        return f"{middle} [{low}, {high}]"

    return [
        {
            "rule": one.rule,
            "rows with positives %": share(one.rows),
            "positives a row": f"{one.mean:.2f}",
            "same person %": share(one.same_person),
            "same movie %": share(one.same_movie),
            "same label %": share(one.same_label),
            "AU distance": interval(one.distance, 1, 2),
            "near pairs %": interval(one.near, 100, 1),
            "meets one in its batch %, plain": share(one.batch_plain),
            "co-batched": share(one.batch_together),
        }
        for one in report.rules
    ]


def print_table(report: MinedReport) -> None:
    """The table on standard output, as Markdown."""
    rows = rows_of(report)
    print("| " + " | ".join(rows[0]) + " |")
    print("|---" * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(row.values()) + " |")
