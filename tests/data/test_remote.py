"""Sets behind URLs: what comes is what is in the folder, and what a server does wrong is told apart."""

from __future__ import annotations

import gc
import http.server
import io
import json
import logging
import pickle
import threading
import weakref
from functools import partial
from types import SimpleNamespace

import fsspec
import numpy as np
import pytest
import torch
from yarl import URL

from mien import recipe
from mien.data import index as index_file
from mien.data.bench_servers import CREDENTIALS, Server, upload
from mien.data.check import check
from mien.data.collate import collate_plain
from mien.data.config import DataConfig, RemoteConfig, SetConfig, TrainConfig
from mien.data.image_memory import batch_memory, room
from mien.data.location import locate
from mien.data.quarantine import Quarantine
from mien.data.reader import ShardSet
from mien.data.retry import BrokenReply, RemoteError, Retry
from mien.data.sets import open_train, open_val
from mien.data.stream import Stream
from mien.data.transport import _judge
from mien.data.writer import ShardWriter
from mien.errors import DataError, RecipeError

from .bad_shards import BAD_SHARDS, write_good
from .faulty import Faulty, _short_waits, cut, drip, faulty, redirect, status, whole, wrong
from .toys import members, show, write_set

__all__ = ["_short_waits"]
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
FIRST = "shard-00000.tar"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("remote") / "set", 40, 10)


@pytest.fixture
def config(tmp_path):
    return RemoteConfig(cache_dir=str(tmp_path / "cache"), attempts=4, timeout_s=5)


@pytest.fixture(scope="module")
def s3(folder):
    with Server("s3") as server:
        upload(folder, "node0", server.url)
        yield server


@pytest.fixture
def credentials(s3, monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)


def contents(shards):
    return [(sample.key, dict(sample.members)) for sample in shards]


def ranged(url, config):
    data = DataConfig(train=TrainConfig(shards=url), remote=config.model_copy(update={"fetch": "range"}))
    return open_train(data)


def section(url, config, **more):
    return DataConfig(train=TrainConfig(shards=url), remote=config, **more)


class TestEveryKind:
    """The same samples, by whole shards and by ranges."""

    @pytest.fixture(params=["http", "s3", "file", "memory"])
    def url(self, request, folder):
        if request.param == "http":
            with faulty(folder) as server:
                yield server.url
        elif request.param == "s3":
            request.getfixturevalue("credentials")
            yield "s3://node0/set"
        elif request.param == "file":
            yield f"file://{folder}"
        else:
            memory = fsspec.filesystem("memory")
            for path in folder.iterdir():
                memory.pipe(f"/set/{path.name}", path.read_bytes())
            yield "memory://set"

    def test_samples(self, url, folder, config):
        local, remote = ShardSet(folder), ShardSet(url, config)
        assert (remote.sha, remote.schema, len(remote)) == (local.sha, local.schema, len(local))
        assert contents(remote) == contents(local)
        again = pickle.loads(pickle.dumps(remote))  # noqa: S301  # as a spawned worker gets it
        assert contents(again) == contents(local)
        assert remote.remote.cache.counters.read()["shards"] == 4

    def test_ranges(self, url, folder, config):
        remote = ranged(url, config)
        assert contents(remote) == contents(ShardSet(folder))
        assert remote.remote.cache.counters.read()["shards"] == 0

    def test_check(self, url, folder):
        assert check(url).ok
        assert check(url, deep=False).samples == 40


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("fetch", ["shard", "range"])
def test_a_stream_is_that_of_the_folder(folder, config, workers, fetch):
    options = {"seed": 3, "global_batch": 8, "steps": 12, "shuffle_block": 2, "workers": workers}
    local = list(Stream(ShardSet(folder), show, collate_plain, **options))
    with faulty(folder, status(503, times=3)) as server:
        data = section(server.url, config.model_copy(update={"fetch": fetch}), shuffle_block=2)
        remote = list(Stream(open_train(data), show, collate_plain, **options))
    for one, other in zip(local, remote, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in ("img", "index", "epoch", "draw", "valid"))


class TestFaultsThatPass:
    """Retried: the samples come, and one line says so."""

    FAULTS = {
        "500": lambda: status(500, 3),
        "503": lambda: status(503, 3),
        "throttled": lambda: status(429, 3),
        "reset": lambda: cut(300, 3),
        "reset at once": lambda: cut(0, 3),
        "short body": lambda: cut(300, 3, reset=False),
    }

    @pytest.mark.parametrize("kind", FAULTS)
    @pytest.mark.parametrize("fetch", ["shard", "range"])
    def test_samples(self, kind, fetch, folder, config, caplog):
        with faulty(folder) as server, caplog.at_level(logging.WARNING, "mien.data"):
            data = section(server.url, config.model_copy(update={"fetch": fetch}))
            shards = open_train(data)
            server.handler.fault = self.FAULTS[kind]()
            assert contents(shards) == contents(ShardSet(folder))
        assert shards.remote.remote.retry.faults == 3
        (line,) = caplog.messages
        assert server.url in line
        assert "trying again" in line

    def test_a_large_shard_goes_on_where_it_broke(self, tmp_path, config):
        with ShardWriter(tmp_path / "set", "labelled/1") as writer:
            for number in range(3):
                writer.write(f"s{number}", members(number) | {"npy": _npy(1 << 21)})
        with faulty(tmp_path / "set") as server:
            shards = ShardSet(server.url, config)
            server.handler.fault = cut(2 << 20, times=2, reset=False)
            assert contents(shards) == contents(ShardSet(tmp_path / "set"))
            first, second, third = (int(at[6:].split("-")[0]) for at in server.asked(FIRST)[2:])
            assert first == 0 < second < third  # what a reset connection still holds may be lost

    def test_wrong_bytes_once(self, folder, config):
        with faulty(folder, wrong(times=1)) as server:
            shards = ShardSet(server.url, config)
            server.handler.fault = wrong(times=1)
            assert contents(shards) == contents(ShardSet(folder))
            assert shards.remote.cache.counters.read()["damaged"] == 0


def _npy(size):
    target = io.BytesIO()
    np.save(target, np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8))
    return target.getvalue()


class TestServerGone:
    """What patience does not mend is about the server: RemoteError, never a damaged sample."""

    @pytest.mark.parametrize(
        ("fault", "words", "requests"),
        [
            (status(500), "after 4 attempts: HTTP status 500", 4),
            (cut(100), "after 4 attempts", 4),
            (status(403), "HTTP status 403; see to the address and to the credentials", 1),
            (status(401), "HTTP status 401", 1),
            (status(400), "HTTP status 400", 1),
        ],
    )
    def test_one_line(self, fault, words, requests, folder, config):
        with faulty(folder) as server:
            shards = ShardSet(server.url, config)
            before = len(server.asked(FIRST))
            server.handler.fault = fault
            with pytest.raises(RemoteError, match=words) as raised:
                shards.read(0)
            assert f"{server.url}/{FIRST}" in str(raised.value)
            assert "\n" not in str(raised.value)
            assert len(server.asked(FIRST)) - before == requests

    def test_a_drip_is_too_slow(self, folder, config):
        with faulty(folder) as server:
            shards = ShardSet(server.url, config.model_copy(update={"timeout_s": 0.25, "attempts": 2}))
            server.handler.fault = drip
            with pytest.raises(RemoteError, match="after 2 attempts: no reply in time"):
                shards.read(0)

    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("fetch", ["shard", "range"])
    def test_it_ends_a_run_and_quarantines_nothing(self, folder, config, workers, fetch):
        server = Faulty(folder)
        shards = open_train(section(server.url, config.model_copy(update={"fetch": fetch}), shuffle_block=1))
        server.stop()
        record = Quarantine(None, sha=shards.sha, size=len(shards), fraction=1.0)
        options = {"seed": 0, "global_batch": 8, "steps": 3, "workers": workers, "quarantine": record}
        with pytest.raises(RemoteError, match="cannot be read after 4 attempts"):
            list(Stream(shards, show, collate_plain, **options))
        assert record.count == 0

    def test_no_such_host(self, config):
        with pytest.raises(RemoteError, match=r"index\.json: cannot be read"):
            ShardSet("http://127.0.0.1:9/set", config)

    def test_s3_without_credentials_or_bucket(self, s3, credentials, config, monkeypatch):
        with pytest.raises(DataError, match=r"no index\.json"):
            ShardSet("s3://nowhere/set", config)
        for name in CREDENTIALS:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        with pytest.raises(RemoteError, match=r"NoCredentials|Unable to locate credentials"):
            ShardSet("s3://node0/set", config)


class TestDamage:
    """What is wrong with a shard is told at once, and its samples are quarantined."""

    def damaged(self, server, config, fault, fetch="shard"):
        shards = open_train(section(server.url, config.model_copy(update={"fetch": fetch}), shuffle_block=1))
        server.handler.only, server.handler.fault = "00001.tar", fault
        record = Quarantine(None, sha=shards.sha, size=len(shards), fraction=1.0)
        options = {"seed": 0, "global_batch": 8, "steps": 5, "quarantine": record}
        batches = list(Stream(shards, show, collate_plain, **options))
        assert sum(int(batch["valid"].sum()) for batch in batches) == 30
        assert record.count == 10
        return len(server.asked("shard-00001.tar"))

    def test_missing(self, folder, config):
        with faulty(folder) as server:
            assert self.damaged(server, config, status(404)) == 1

    def test_other_bytes_than_the_index_states(self, folder, config):
        with faulty(folder) as server:
            assert self.damaged(server, config, wrong()) == 2
            other = ShardSet(server.url, config)  # another process knows by the note on disk
            with pytest.raises(DataError, match="SHA-256 differs, fetched twice") as raised:
                other.read(10)
            assert len(server.asked("shard-00001.tar")) == 2
            assert not isinstance(raised.value, RemoteError)

    def test_the_note_is_forgotten(self, folder, config, monkeypatch):
        with faulty(folder) as server:
            self.damaged(server, config, wrong())
            monkeypatch.setattr("mien.data.cache._REMEMBER_S", -1)
            server.handler.fault = None
            assert contents(ShardSet(server.url, config)) == contents(ShardSet(folder))

    @pytest.mark.parametrize("fetch", ["shard", "range"])
    def test_cut_short_on_the_server(self, fetch, tmp_path, config):
        folder = write_set(tmp_path / "set", 40, 10)
        with faulty(folder) as server:
            shards = open_train(section(server.url, config.model_copy(update={"fetch": fetch})))
            path = folder / "shard-00001.tar"
            path.write_bytes(path.read_bytes()[:600])
            with pytest.raises(DataError, match=r"ends before byte|has 600 on the server") as raised:
                shards.read(19)
            assert not isinstance(raised.value, RemoteError)

    @pytest.mark.parametrize("kind", sorted(BAD_SHARDS))
    def test_check_finds_in_a_url_what_it_finds_in_the_folder(self, kind, tmp_path):
        folder = write_good(tmp_path / "set")
        BAD_SHARDS[kind](folder)
        with faulty(folder) as server:
            found, expected = check(server.url), check(folder)
        assert [str(problem) for problem in found.problems] == [str(problem) for problem in expected.problems]
        assert not found.ok


class TestIndex:
    """The index from a server is judged as one from a folder."""

    def test_absent(self, folder, config):
        with faulty(folder, status(404), only="index.json") as server:
            with pytest.raises(DataError, match=r"no index\.json"):
                ShardSet(server.url, config)
            assert len(server.asked("index.json")) == 1

    def test_too_large_is_not_read(self, folder, config, monkeypatch):
        monkeypatch.setattr(index_file, "MAX_INDEX", 100)
        with faulty(folder) as server:
            with pytest.raises(DataError, match="index of more than 100 bytes"):
                ShardSet(server.url, config)
            assert server.asked("index.json") == ["bytes=0-0"]

    @pytest.mark.parametrize("name", ["../../etc/passwd", "..", ".", "", "a/b.tar", "a\\b.tar", "a\nb", "/x"])
    @pytest.mark.parametrize("url", [False, True])
    def test_a_name_that_leads_elsewhere(self, name, url, tmp_path, config):
        folder = write_set(tmp_path / "set", 4, 2)
        tree = json.loads((folder / "index.json").read_text())
        tree["shards"][0]["file"] = name
        (folder / "index.json").write_text(json.dumps(tree))
        with faulty(folder) as server, pytest.raises(DataError, match="path in `file`"):
            ShardSet(server.url if url else folder, config)

    def test_names_that_mean_something_in_a_url(self, tmp_path, config):
        folder = write_set(tmp_path / "set", 4, 2)
        name = "a?b#c%2e d+é.tar"
        (folder / FIRST).rename(folder / name)
        tree = json.loads((folder / "index.json").read_text())
        tree["shards"][0]["file"] = name
        (folder / "index.json").write_text(json.dumps(tree))
        local = contents(ShardSet(folder))

        class Unquoting(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Unquoting, directory=str(folder)))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:  # Python's own server, which knows no ranges
            assert contents(ShardSet(f"http://127.0.0.1:{server.server_port}", config)) == local
        finally:
            server.shutdown()
            server.server_close()


class TestReplies:
    """Odd but honest servers, and others."""

    def test_without_ranges_whole_shards_work(self, folder, config):
        with faulty(folder, whole, only="") as server:
            assert contents(ShardSet(server.url, config)) == contents(ShardSet(folder))
            with pytest.raises(RemoteError, match=r"sends whole files.*data\.remote\.fetch=shard"):
                ranged(server.url, config).read(5)

    def test_a_redirect_to_another_server(self, folder, config):
        with faulty(folder) as other, faulty(folder, redirect(other.url), only="") as server:
            assert contents(ShardSet(server.url, config)) == contents(ShardSet(folder))
            assert other.asked(FIRST)

    def test_a_redirect_to_nowhere_or_in_a_circle(self, folder, config, caplog):
        with faulty(folder) as server:
            server.handler.only, server.handler.fault = "", redirect(server.url)
            with pytest.raises(RemoteError, match=r"cannot be read after \d attempts"):
                ShardSet(server.url, config)
            assert "TooManyRedirects" in caplog.text  # of one attempt; a busy server may end another early
            server.handler.fault = redirect("file:///etc/passwd")
            with pytest.raises(RemoteError, match="cannot be read"):
                ShardSet(server.url, config)

    def test_no_way_down_from_https(self):
        reply = SimpleNamespace(
            status=200, url=URL("http://b/c"), history=[SimpleNamespace(url=URL("https://a/c"))], headers={}
        )
        with pytest.raises(PermissionError, match="https to http"):
            _judge(reply, 0)
        with pytest.raises(BrokenReply, match="encoded as gzip"):
            _judge(
                SimpleNamespace(**{**vars(reply), "history": [], "headers": {"Content-Encoding": "gzip"}}), 0
            )
        headers = {"Content-Range": "bytes 5-9/10"}
        other = SimpleNamespace(**{**vars(reply), "status": 206, "history": [], "headers": headers})
        with pytest.raises(BrokenReply, match="another range"):
            _judge(other, 0)

    def test_connections_keep_no_batch_alive(self, folder, config):
        """Event loops copy the context of who calls them; the memory of a batch is in it."""
        kept = []
        with faulty(folder) as server:
            shards = ShardSet(server.url, config)
            for index in range(0, 40, 10):
                with batch_memory(1):
                    kept.append(weakref.ref(room(8, 8).untyped_storage()))
                    shards.read(index)
            gc.collect()
            assert [one() for one in kept] == [None] * 4


class TestLocation:
    """What a URL may hold."""

    @pytest.mark.parametrize(
        "url",
        ["https://me:secret@host/set", "s3://secret@bucket/set", "https://host/set?token=secret",
         "https://host/set#secret", "simplecache::https://host/secret", "s3://", "https:///secret"],
    )  # fmt: skip
    def test_refused(self, url):
        with pytest.raises(DataError):
            locate(url)
        with pytest.raises(RecipeError) as raised:
            recipe.load("emocapclip/tiny", [f"data.train.shards={url}"])
        assert "secret" not in str(raised.value).replace("https:///secret", "")
        assert "data.train" in str(raised.value)

    def test_accepted(self):
        assert locate("s3://bucket/a/set/") == "s3://bucket/a/set"
        assert locate("file:///data/set") == "file:///data/set"
        assert str(locate("data/set")) == "data/set"
        loaded = recipe.load(
            "emocapclip/tiny", ["data.train.shards=s3://bucket/set", "data.remote.cache_gb=2"]
        )
        assert loaded.data.train.shards == "s3://bucket/set"

    def test_an_unknown_kind_and_a_package_that_is_absent(self, config):
        with pytest.raises(DataError, match="no file system called 'foo'"):
            ShardSet("foo://a/b", config)
        with pytest.raises(DataError, match="gs:// needs a package that is not installed"):
            ShardSet("gs://a/b", config)

    def test_the_key_is_named(self, folder, config):
        with pytest.raises(DataError, match=r"data\.val\.shards: .*data\.val=null to go without"):
            open_val(DataConfig(val=SetConfig(shards=str(folder / "nowhere")), remote=config))


def test_waits_grow_and_are_bounded(monkeypatch):
    waits = []
    monkeypatch.setattr("mien.data.retry._FIRST_S", 0.25)
    retrying = Retry(12, waits.append)

    def fail():
        raise ConnectionResetError

    with pytest.raises(RemoteError, match="after 12 attempts"):
        retrying.call(fail, "there")
    assert len(waits) == 11
    assert all(0 <= wait <= min(20, 0.25 * 2**number) for number, wait in enumerate(waits, 1))
    assert retrying.faults == 12
