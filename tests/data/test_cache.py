"""The cache of a node: each shard once over the network, whole and checked or not there, within its bound."""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path

import pytest
from fsspec.implementations.http import HTTPFileSystem

from mien.data import cache as cache_module
from mien.data.bench_servers import CREDENTIALS, Server, upload
from mien.data.collate import collate_plain
from mien.data.config import DataConfig, PartConfig, RemoteConfig, TrainConfig
from mien.data.node import Counters, cache_root
from mien.data.reader import ShardSet
from mien.data.retry import RemoteError
from mien.data.sets import open_train
from mien.data.stream import Stream
from mien.errors import DataError

from .faulty import _short_waits, faulty
from .toys import show, write_set

__all__ = ["_short_waits"]
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
FIRST = "shard-00000.tar"
SAMPLES, PER_SHARD = 48, 4
fork = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("cache") / "set", SAMPLES, PER_SHARD)


@pytest.fixture(scope="module")
def largest(folder):
    return int(ShardSet(folder).bytes.max())


@pytest.fixture
def web(folder):
    with Server("http", folder) as server:
        yield server


def options(tmp_path, node=0, **more):
    return RemoteConfig(cache_dir=str(tmp_path / f"node{node}"), attempts=3, **more)


def contents(shards):
    return [(sample.key, dict(sample.members)) for sample in shards]


def cached(shards):
    return sorted((shards.remote.cache.folder / "shards").iterdir())


def whole(folder):
    return sum(path.stat().st_size for path in folder.glob("*.tar"))


def epochs(url, config, count, *, world=1, rank=0, workers=0, block=3, batch=8):
    """Bytes that this node's counters say each epoch took, and the samples that it saw."""
    data = DataConfig(train=TrainConfig(shards=url), remote=config, shuffle_block=block)
    taken, seen = [], []
    for number in range(count):
        shards = open_train(data, world)
        before = shards.remote.cache.counters.read()["bytes"]
        stream = Stream(
            shards, show, collate_plain, seed=1, global_batch=batch, world=world, rank=rank, workers=workers,
            start=number * SAMPLES, steps=SAMPLES // batch, shuffle_block=block, prefetch=1,
        )  # fmt: skip
        seen += [index for batch in stream for index in batch["index"].tolist()]
        taken.append(shards.remote.cache.counters.read()["bytes"] - before)
    return taken, seen


@pytest.mark.parametrize("kind", ["http", "s3"])
def test_each_byte_crosses_the_network_once_a_node(kind, web, folder, tmp_path, monkeypatch):
    """Two nodes of two ranks with workers each, three epochs: the server's own count."""
    with Server("s3") as s3:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": s3.url}.items():
            monkeypatch.setenv(name, value)
        server = s3 if kind == "s3" else web
        for node in (0, 1):
            upload(folder, f"node{node}", s3.url)
        for node in (0, 1):
            url = f"s3://node{node}/set" if kind == "s3" else f"{web.url}/node{node}/set"
            ranks = [
                fork.Process(
                    target=epochs,
                    args=(url, options(tmp_path, node), 3),
                    kwargs={"world": 4, "rank": rank, "workers": 2},
                )
                for rank in (2 * node, 2 * node + 1)
            ]
            for process in ranks:
                process.start()
            for process in ranks:
                process.join(60)
                assert process.exitcode == 0
        index = (folder / "index.json").stat().st_size
        for node in (0, 1):
            read = server.counts()[f"node{node}"]
            # Whole shards once; the index once a rank and opening, for it has no checksum to be known by.
            assert whole(folder) + 6 * index <= read <= whole(folder) + 6 * (index + 8)
            (file,) = (tmp_path / f"node{node}").glob("*/counters")
            counted = Counters(file).read()
            assert counted["shards"] == SAMPLES // PER_SHARD
            assert counted["bytes"] == whole(folder) + 6 * index


def test_a_cache_that_holds_the_set_leaves_nothing_to_fetch(web, folder, tmp_path):
    taken, seen = epochs(f"{web.url}/n/set", options(tmp_path), 3)
    assert taken == [whole(folder), 0, 0]
    assert sorted(seen) == sorted(list(range(SAMPLES)) * 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_small_cache_reads_each_epoch_once(web, folder, largest, tmp_path, workers):
    """Two blocks of four shards fit: the next block is there when it is needed, and nothing comes twice."""
    config = options(tmp_path, cache_gb=8.5 * largest / 1e9)
    taken, _ = epochs(f"{web.url}/n/set", config, 3, workers=workers, block=4, batch=2)
    # Blocks from before are still there when an epoch begins, and the next one is fetched ahead; loaders of a
    # set this small overtake their own fetching, so a few shards may come twice.
    block = 4 * largest
    assert 3 * whole(folder) - 2 * 2 * block <= sum(taken) <= 3 * whole(folder) + 2 * block
    (shards,) = (tmp_path / "node0").glob("*/shards")
    assert sum(path.stat().st_size for path in shards.iterdir()) <= 8.5 * largest


@pytest.mark.parametrize("world", [2, 4])
def test_ranges_read_a_part_of_the_bytes(web, folder, tmp_path, world):
    seen, read = [], []
    shards = ShardSet(folder)
    for rank in range(world):
        url = f"{web.url}/node{rank}/set"
        taken, mine = epochs(url, options(tmp_path, rank, fetch="range"), 2, world=world, rank=rank)
        parts = [mine[: len(mine) // 2], mine[len(mine) // 2 :]]
        sizes = [sum(int(shards._stops[i] - shards._starts[i]) for i in part) for part in parts]
        assert taken == sizes  # its own samples, not a byte more
        read.append(taken[0])
        seen += parts[0]
    assert sorted(seen) == list(range(SAMPLES))
    assert all(bytes_ / sum(read) == pytest.approx(1 / world, rel=0.1) for bytes_ in read)


def test_auto_reads_ranges_on_several_nodes_where_the_cache_cannot_hold_the_set(web, tmp_path, largest):
    def ranges(nodes, cache_gb):
        data = DataConfig(
            train=TrainConfig(shards=f"{web.url}/n/set"),
            remote=options(tmp_path, cache_gb=cache_gb),
            shuffle_block=2,
        )
        return open_train(data, nodes).remote.reading.ranges

    assert [ranges(1, 50), ranges(4, 50), ranges(1, 3 * largest / 1e9)] == [False] * 3
    assert ranges(4, 3 * largest / 1e9)


def test_a_cache_too_small_for_a_block(web, tmp_path, largest):
    train = TrainConfig(shards=f"{web.url}/n/set")
    data = DataConfig(train=train, remote=options(tmp_path, cache_gb=2 * largest / 1e9), shuffle_block=3)
    with pytest.raises(DataError, match=r"too small for one block of 3 shards.*data\.remote\.cache_gb="):
        open_train(data)
    parts = (PartConfig(shards=f"{web.url}/n/set"), PartConfig(shards=f"{web.url}/m/set"))
    mixed = data.model_copy(update={"train": TrainConfig(mix=parts), "shuffle_block": 2})
    with pytest.raises(DataError, match="a block of 2 shards of each set"):
        open_train(mixed)
    tiny = ShardSet(f"{web.url}/n/set", options(tmp_path, cache_gb=largest / 2e9))
    with pytest.raises(DataError, match="too small for one shard"):
        tiny.read(0)


def test_the_bound_holds_and_readers_read_on(web, folder, largest, tmp_path):
    """Shards are removed under readers that have them open; the disk never holds more than the bound."""
    limit = int(2.5 * largest)
    config = options(tmp_path, cache_gb=limit / 1e9)
    reader, other = (ShardSet(f"{web.url}/n/set", config) for _ in range(2))
    local = ShardSet(folder)
    first = reader.read(0)
    for index in range(PER_SHARD, SAMPLES, PER_SHARD):
        other.read(index)
        assert sum(path.stat().st_size for path in cached(other)) <= limit
    assert FIRST not in {path.name for path in cached(reader)}
    before = reader.remote.cache.counters.read()["bytes"]
    assert (first.members, reader.read(1).members) == (local.read(0).members, local.read(1).members)
    assert reader.remote.cache.counters.read()["bytes"] == before
    assert not list((reader.remote.cache.folder / "parts").iterdir())


def test_what_was_wanted_longest_ago_goes_first(web, largest, tmp_path):
    config = options(tmp_path, cache_gb=3.5 * largest / 1e9)
    for shard in (0, 1, 2, 0, 3):  # each by a set of its own, which opens it anew
        ShardSet(f"{web.url}/n/set", config).read(shard * PER_SHARD)
        shards = ShardSet(f"{web.url}/n/set", config)
    assert [path.name for path in cached(shards)] == [f"shard-0000{n}.tar" for n in (0, 2, 3)]


def slow(handler, path):
    """Half of a shard, then nothing for a minute."""
    data = path.read_bytes()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[: len(data) // 2])
    handler.wfile.flush()
    time.sleep(60)


def read_first(url, config):
    assert ShardSet(url, config).read(0).key == "s0000"


def test_another_process_takes_over_from_a_killed_one(folder, tmp_path):
    config = options(tmp_path)
    with faulty(folder) as server:
        shards = ShardSet(server.url, config)
        server.handler.fault = slow
        killed = fork.Process(target=read_first, args=(server.url, config))
        killed.start()
        part = shards.remote.cache.folder / "parts" / FIRST
        until(lambda: part.is_file() and part.stat().st_size > 0)
        server.handler.fault = None
        waiting = fork.Process(target=read_first, args=(server.url, config))
        waiting.start()
        time.sleep(0.2)
        assert waiting.is_alive()  # waits for the one that fetches, and asks nothing of the server
        assert not cached(shards)
        os.kill(killed.pid, signal.SIGKILL)
        waiting.join(30)
        assert waiting.exitcode == 0
        assert [path.name for path in cached(shards)] == [FIRST]
        assert cached(shards)[0].read_bytes() == (folder / FIRST).read_bytes()
        assert not part.exists()
        killed.join()


def test_a_killed_ones_remains_are_swept(web, folder, tmp_path):
    shards = ShardSet(f"{web.url}/n/set", options(tmp_path))
    left = shards.remote.cache.folder / "parts" / "shard-00007.tar"
    left.write_bytes(b"half")
    shards.read(0)
    assert not left.exists()


def until(ready):
    end = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("change", ["flip a bit", "cut short", "replace"])
def test_a_cached_file_that_somebody_changed_is_fetched_again(change, web, folder, tmp_path):
    config = options(tmp_path)
    shards = ShardSet(f"{web.url}/n/set", config)
    shards.read(0)
    (path,) = cached(shards)
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    if change == "replace":
        path.unlink()
    path.write_bytes(data[:700] if change == "cut short" else data)
    again = ShardSet(f"{web.url}/n/set", config)
    assert contents(again)[:4] == contents(ShardSet(folder))[:4]
    assert path.read_bytes() == (folder / FIRST).read_bytes()


def test_after_a_boot_files_are_checked_and_not_fetched(web, folder, tmp_path, monkeypatch):
    config = options(tmp_path)
    ShardSet(f"{web.url}/n/set", config).read(0)
    monkeypatch.setattr(cache_module, "_boot", lambda: "another")
    checked = []
    monkeypatch.setattr(cache_module, "sha256_of", lambda file: checked.append(file.name) or _sha(file))
    for _ in range(2):
        shards = ShardSet(f"{web.url}/n/set", config)
        shards.read(0)
    assert len(checked) == 1
    assert shards.remote.cache.counters.read()["shards"] == 1


_sha = cache_module.sha256_of


def test_a_full_disk(web, tmp_path, largest):
    """The kernel refuses to let a file grow: one line, the run ends, nothing half-written stays."""

    def attempt(results):
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, largest // 2))
        try:
            shards.read(0)
        except RemoteError as error:
            results.put(str(error))

    shards = ShardSet(f"{web.url}/n/set", options(tmp_path))
    results = fork.SimpleQueue()
    process = fork.Process(target=attempt, args=(results,))
    process.start()
    process.join(30)
    said = results.get()
    assert "the cache cannot be written: File too large" in said
    assert "data.remote.cache_gb" in said
    assert not cached(shards)
    assert not list((shards.remote.cache.folder / "parts").iterdir())


def test_prepare_leaves_alone_what_another_fetches(folder, tmp_path):
    config = options(tmp_path)
    with faulty(folder) as server:
        shards = ShardSet(server.url, config)
        cache, shard = shards.remote.cache, shards.remote.shards[FIRST]
        with cache._locked(cache._path("locks", shard)):
            cache.prepare(shard)
        assert not cached(shards)
        cache.prepare(shard)
        cache.prepare(shard)
        assert [path.name for path in cached(shards)] == [FIRST]


def test_forked_workers_of_an_opened_set(web, folder, tmp_path):
    """Connections and threads of the parent are left behind, in whole shards and in ranges."""
    expected = contents(ShardSet(folder))
    for fetch in ("shard", "range"):
        data = DataConfig(train=TrainConfig(shards=f"{web.url}/n/set"), remote=options(tmp_path, fetch=fetch))
        shards = open_train(data)
        shards.read(0)
        with fork.Pool(2) as pool:
            found = pool.map(read_one, [(shards, index) for index in range(SAMPLES)])
        assert found == expected


@pytest.mark.parametrize("fetch", ["shard", "range"])
def test_a_fork_leaves_the_connections_of_its_parent_alone(fetch, web, folder, tmp_path, monkeypatch):
    """They are closed by who opened them only; the parent goes on reading with them."""
    closed, close = tmp_path / "closed", HTTPFileSystem.close_session

    def note(loop, session):
        with closed.open("a") as file:
            file.write(f"{os.getpid()}\n")
        close(loop, session)

    monkeypatch.setattr(HTTPFileSystem, "close_session", staticmethod(note))
    train = TrainConfig(shards=f"{web.url}/n/set")
    shards = open_train(DataConfig(train=train, remote=options(tmp_path, fetch=fetch)))
    expected = contents(ShardSet(folder))

    def read_and_drop():
        nonlocal shards
        found = contents(shards)
        del shards
        gc.collect()
        os._exit(0 if found == expected else 1)

    for _ in range(2):
        assert shards.read(0).key == "s0000"
        child = fork.Process(target=read_and_drop)
        child.start()
        child.join(30)
        assert child.exitcode == 0
    assert contents(shards) == expected
    del shards
    gc.collect()
    pids = [int(line) for line in closed.read_text().split()]
    assert os.getpid() in pids
    assert len(pids) == len(set(pids))  # nobody closed more than the one that was its own


def read_one(pair):
    shards, index = pair
    sample = shards.read(index)
    return sample.key, dict(sample.members)


class TestRoot:
    """Where the cache is."""

    def test_choice(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "set by variable"))
        assert cache_root(None) == tmp_path / "set by variable"
        assert cache_root(str(tmp_path / "given")) == tmp_path / "given"
        monkeypatch.delenv("MIEN_CACHE")
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        root = cache_root(None)
        assert root.parent == tmp_path
        assert root.stat().st_mode & 0o777 == 0o700

    def test_refused(self, tmp_path, monkeypatch):
        (tmp_path / "file").touch()
        with pytest.raises(DataError, match="no cache there"):
            cache_root(str(tmp_path / "file" / "below"))
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        with pytest.raises(DataError, match="belongs to another user"):
            cache_root(str(tmp_path))


def test_counters_add_up_over_processes(tmp_path):
    counters = Counters(tmp_path / "counters")
    assert counters.read()["bytes"] == 0

    def add():
        for _ in range(200):
            counters.add(requests=1, bytes=3)

    processes = [fork.Process(target=add) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert counters.read() == {"requests": 800, "bytes": 2400, "shards": 0, "damaged": 0}
    Path(tmp_path / "counters").write_bytes(b"torn")
    assert counters.read()["bytes"] == 0
