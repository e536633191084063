"""The stream from a web server and an object store against local files: `python -m mien.data.bench_remote`.

Both servers are processes on this machine, and the bytes in the tables are those that they counted. One
loader process decodes; the ways take turns, so that what else the machine does falls on all of them alike.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mien.data.bench import collate_images, make_set, transform_image
from mien.data.bench_servers import CREDENTIALS, Server, upload
from mien.data.config import DataConfig, RemoteConfig, TrainConfig
from mien.data.reader import ShardSet
from mien.data.sets import open_train
from mien.data.stream import Stream

BATCH, BLOCK, PER_SHARD = 64, 4, 128
"""Samples a micro-batch, shards a block, samples a shard."""


@dataclass(frozen=True)
class Bench:
    """The set and its servers.

    Attributes:
        folder: the set's.
        http: serves the set under any name.
        s3: holds the set in the buckets node0 and node1.
        caches: folder for caches.
    """

    folder: Path
    http: Server
    s3: Server
    caches: Path

    def url(self, kind: str, node: int) -> str:
        """The set, as a node names it; servers count by that name."""
        if kind == "local":
            return str(self.folder)
        return f"s3://node{node}/set" if kind == "s3" else f"{self.http.url}/node{node}"

    def data(
        self, kind: str, cache: str, node: int = 0, fetch: str = "shard", cache_gb: float = 50
    ) -> DataConfig:
        """The section of a recipe that trains on the set."""
        remote = RemoteConfig.model_validate(
            {"cache_dir": str(self.caches / cache), "fetch": fetch, "cache_gb": cache_gb}
        )
        train = TrainConfig(shards=self.url(kind, node))
        return DataConfig(train=train, remote=remote, shuffle_block=BLOCK)

    def bytes(self, kind: str, node: int) -> int:
        """What a node has read from a server so far."""
        server = self.s3 if kind == "s3" else self.http
        return server.counts()[f"node{node}"] if kind != "local" else 0


@dataclass(frozen=True)
class Pass:
    """One epoch.

    Attributes:
        samples: how many came after the first batch.
        first: seconds from opening the set to the first batch: connecting, and a block of shards.
        seconds: from there to the last batch.
        bytes: what the server counted.
        rss: MB of the loader process, the highest of each quarter.
        of_local: rate, as a multiple of that of the pass over local files just before.
    """

    samples: int
    first: float
    seconds: float
    bytes: int
    rss: list[float]
    of_local: float = 1.0

    @property
    def rate(self) -> float:
        """Samples a second."""
        return self.samples / self.seconds


def epoch(
    bench: Bench, kind: str, data: DataConfig, *, number: int = 0, node: int = 0, nodes: int = 1
) -> Pass:
    """One node's part of an epoch, by a loader process that starts and ends with it."""
    before, start = bench.bytes(kind, node), time.perf_counter()
    shards = open_train(data, nodes)
    steps = len(shards) // (BATCH * nodes)
    stream = Stream(
        shards, transform_image, collate_images, seed=0, global_batch=BATCH * nodes, rank=node, world=nodes,
        start=number * len(shards), steps=steps, workers=1, shuffle_block=data.shuffle_block,
    )  # fmt: skip
    rss, times = [], []
    for _ in stream:
        times.append(time.perf_counter())
        rss.append(_worker_mb())
    quarters = [max(rss[steps * q // 4 : steps * (q + 1) // 4]) for q in range(4)]
    spans = (times[0] - start, times[-1] - times[0])
    return Pass((steps - 1) * BATCH, *spans, bench.bytes(kind, node) - before, quarters)


def _worker_mb() -> float:
    """Resident memory of the loader process, MB; 0 once it has ended."""
    try:
        (worker,) = multiprocessing.active_children()
        status = Path(f"/proc/{worker.pid}/status").read_text()
    except (ValueError, FileNotFoundError):
        return 0.0
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1e3


def link(bench: Bench, kind: str, data: DataConfig) -> Pass:
    """Bytes without decoding: whole shards, or some samples, each by a range of its own."""
    before, start = bench.bytes(kind, 0), time.perf_counter()
    shards = open_train(data)
    opened = time.perf_counter()
    samples = len(shards) if data.remote.fetch == "shard" else BATCH * BLOCK
    for first in range(0, samples, BATCH):
        indices = np.arange(first, first + BATCH)
        shards.expect(indices, [])
        for index in indices:
            shards.read(int(index))
    return Pass(samples, opened - start, time.perf_counter() - opened, bench.bytes(kind, 0) - before, [])


def compare(bench: Bench, rounds: int) -> dict[str, list[Pass]]:
    """Passes of each way, one a round; a round before the first warms up."""
    found: dict[str, list[Pass]] = {}
    for turn in range(rounds + 1):
        shutil.rmtree(bench.caches, ignore_errors=True)
        local = epoch(bench, "local", bench.data("local", "none"))
        for name, run in ways(bench).items():
            if "cache" in name:  # what is measured against files, right after them
                local = epoch(bench, "local", bench.data("local", "none"))
            one = run()
            if turn:
                found.setdefault("local files", []).append(local)
                found.setdefault(name, []).append(replace(one, of_local=one.rate / local.rate))
    return found


def ways(bench: Bench) -> dict[str, Callable[[], Pass]]:
    """What is compared with local files, in order: a warm pass finds the cache of the cold one before it."""
    found: dict[str, Callable[[], Pass]] = {}
    for kind in ("http", "s3"):
        for fetch in ("shard", "range"):
            alone = bench.data(kind, f"{kind}-link-{fetch}", fetch=fetch)
            found[f"{kind}, link alone, {fetch}s"] = partial(link, bench, kind, alone)
        data = bench.data(kind, kind)
        found[f"{kind}, shards, cold cache"] = partial(epoch, bench, kind, data)
        found[f"{kind}, shards, warm cache"] = partial(epoch, bench, kind, data, number=1)
        for node in (0, 1):
            part = bench.data(kind, f"{kind}-range-{node}", node, "range")
            name = f"{kind}, ranges, node {node} of 2"
            found[name] = partial(epoch, bench, kind, part, node=node, nodes=2)
    return found


def print_rates(found: dict[str, list[Pass]], size: int, title: str) -> None:
    """Medians over rounds; bytes are of every round alike, or their range is shown."""
    columns = ("samples/s", "of local files", "first batch, s", "bytes read", "of the set")
    table = Table("way", *columns, title=title)
    for name, passes in found.items():
        rate = statistics.median(one.rate for one in passes)
        ratio = statistics.median(one.of_local for one in passes)
        counts = sorted({one.bytes for one in passes})
        shown = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
        first = f"{statistics.median(one.first for one in passes):.2f}"
        table.add_row(name, f"{rate:.0f}", f"{ratio:.3f}", first, shown, f"{counts[-1] / size:.3f}")
    Console(width=120).print(table)


def print_memory(bench: Bench, shards: ShardSet) -> None:
    """An epoch 20 times as large as the cache: memory of the loader process, bytes, and the cache's size."""
    size = int(shards.bytes.sum())
    bound = max(size / 20, shards.block_bytes(1))
    title = (
        f"an epoch of {size / 1e6:.0f} MB through a cache of {bound / 1e6:.1f} MB; MB of the loader process"
    )
    table = Table("way", *(f"quarter {q + 1}" for q in range(4)), "bytes read", "of the set", title=title)
    for kind in ("local", "http", "s3"):
        data = bench.data(kind, f"small-{kind}", cache_gb=bound / 1e9).model_copy(update={"shuffle_block": 1})
        one = epoch(bench, kind, data)
        row = (*(f"{value:.0f}" for value in one.rss), f"{one.bytes:,}", f"{one.bytes / size:.3f}")
        table.add_row("local files" if kind == "local" else kind, *row)
    Console(width=120).print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make a set, serve it, measure, print the tables."""
    parser = argparse.ArgumentParser(prog="python -m mien.data.bench_remote", description=__doc__)
    parser.add_argument("--images", type=int, default=6144, help="images in the set, a multiple of 512")
    parser.add_argument("--size", type=int, default=256, help="side of an image, in pixels")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count")
    options = parser.parse_args(arguments)
    if options.images % (PER_SHARD * BLOCK) or options.images < PER_SHARD * BLOCK:
        parser.error(f"--images is a multiple of {PER_SHARD * BLOCK}")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name) / "set"
        shards = make_set(folder, options.images, options.size, None, PER_SHARD)
        http, s3 = stack.enter_context(Server("http", folder)), stack.enter_context(Server("s3"))
        os.environ.update(CREDENTIALS, AWS_ENDPOINT_URL=s3.url)
        for node in (0, 1):
            upload(folder, f"node{node}", s3.url)
        bench = Bench(folder, http, s3, Path(name) / "caches")
        size = int(shards.bytes.sum()) + (folder / "index.json").stat().st_size
        title = f"{len(shards)} images, {options.size} px, {len(shards.sizes)} shards, {size / 1e6:.0f} MB"
        print_rates(compare(bench, options.rounds), size, f"{title}, {options.rounds} rounds")
        print_memory(bench, shards)


if __name__ == "__main__":
    main()
