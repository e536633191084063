"""Runs on remote sets and on mixtures: the weights of a run on files, true logs, exact resume."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from mien.data.bench_servers import CREDENTIALS, Server, upload
from mien.engine.rundir import RunFolder
from mien.faults import cases_store
from mien.faults.lab import Lab
from mien.faults.sets import write_set

from .processes import Session
from .runs import differences, last_step, learned, only_run, overrides, samples, state

MIX = "data.train={{shards: null, mix: [{{shards: {one}, weight: 2}}, {{shards: {two}, weight: 1}}]}}"


@pytest.mark.parametrize("kind", ["http", "s3"])
def test_a_run_on_a_server_ends_as_one_on_files(
    kind: str, sets: dict[str, Path], undisturbed: RunFolder, tmp_path: Path
) -> None:
    """Killed in the middle; the node's cache outlives it, so each shard is fetched once in both sessions."""
    with Server(kind, sets["train"]) as server:
        url, environment = f"{server.url}/node0", {"MIEN_CACHE": str(tmp_path / "cache")}
        if kind == "s3":
            upload(sets["train"], "node0", server.url)
            url = "s3://node0/set"
            environment |= {**CREDENTIALS, "AWS_ENDPOINT_URL": server.url}
        keys = overrides(sets, tmp_path, f"data.train.shards={url}", "data.workers=2")
        first = Session(keys, tmp_path / "log", environment=environment)
        first.until(lambda: last_step(tmp_path) >= 7)
        first.kill()
        again = Session(keys, tmp_path / "log", resume=True, environment=environment)
        assert again.wait() == 0, again.said()
        read = server.counts()["node0"]
    run = only_run(tmp_path)
    assert not differences(state(run), state(undisturbed))
    assert learned(run) == learned(undisturbed)
    assert samples(run) == samples(undisturbed)
    tars = sum(path.stat().st_size for path in sets["train"].glob("*.tar"))
    index = (sets["train"] / "index.json").stat().st_size
    assert tars + 2 * index <= read <= tars + 2 * (index + 10)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.mark.parametrize("fault", cases_store.CASES)
def test_an_object_store_that_misbehaves_changes_nothing(fault: str, lab: Lab, tmp_path: Path) -> None:
    outcome = cases_store.CASES[fault](lab, tmp_path / "runs", random.Random(0))
    assert outcome.good, outcome.said


def test_a_server_that_is_gone_ends_the_run_with_one_line(sets: dict[str, Path], tmp_path: Path) -> None:
    environment = {"MIEN_CACHE": str(tmp_path / "cache")}
    keys = overrides(sets, tmp_path, "data.train.shards=http://127.0.0.1:9/set", "data.remote.attempts=2")
    session = Session(keys, tmp_path / "log", environment=environment)
    assert session.wait() == 2
    line = session.said().splitlines()[-1]
    assert line.startswith(
        "data.train.shards: http://127.0.0.1:9/set/index.json: cannot be read after 2 attempts"
    )
    assert not list(tmp_path.glob("*/*/*/run.json"))


def test_a_server_that_goes_in_the_middle_leaves_a_run_that_goes_on(
    sets: dict[str, Path], undisturbed: RunFolder, tmp_path: Path
) -> None:
    environment = {"MIEN_CACHE": str(tmp_path / "cache")}
    more = ("data.remote.attempts=2", "data.remote.fetch=range", "data.workers=1", "data.prefetch=1")
    with Server("http", sets["train"]) as server:
        keys = overrides(sets, tmp_path, f"data.train.shards={server.url}/a", *more)
        first = Session(keys, tmp_path / "log", environment=environment)
        first.until(lambda: last_step(tmp_path) >= 7)
    assert first.wait() == 2
    assert "cannot be read after 2 attempts" in first.said().splitlines()[-1]
    assert not list(tmp_path.rglob("quarantine.jsonl"))
    with Server("http", sets["train"]) as server:  # on another port: a moved set is the same set
        keys = overrides(sets, tmp_path, f"data.train.shards={server.url}/a", *more)
        again = Session(keys, tmp_path / "log", resume=True, environment=environment)
        assert again.wait() == 0, again.said()
    assert not differences(state(only_run(tmp_path)), state(undisturbed))


def test_a_mixture_goes_on_where_it_was_killed(sets: dict[str, Path], tmp_path: Path) -> None:
    other = write_set(tmp_path / "other", 30, seed=2, first_uid=9000)
    mix = MIX.format(one=sets["train"], two=other)
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    once = Session(overrides(sets, whole, mix), tmp_path / "log1")
    first = Session(overrides(sets, parted, mix), tmp_path / "log2")
    first.until(lambda: last_step(parted) >= 7)
    first.kill()
    again = Session(overrides(sets, parted, mix, "data.workers=1"), tmp_path / "log2", resume=True)
    assert (again.wait(), once.wait()) == (0, 0), again.said()
    assert not differences(state(only_run(parted)), state(only_run(whole)))
    rows = samples(only_run(parted))
    assert rows == samples(only_run(whole))
    assert len(rows) == 30 * 16
    for size, first_index, first_uid, share in ((96, 0, 1000, 2 / 3), (30, 96, 9000, 1 / 3)):
        mine = [row for row in rows if first_index <= row[3] < first_index + size]
        assert abs(len(mine) - share * len(rows)) < 2
        assert [row[2] for row in mine] == [
            number // size for number in range(len(mine))
        ]  # epochs of its own
        assert all(uid - first_uid == index - first_index for *_, index, uid in mine)
        assert max(Counter((row[2], row[3]) for row in mine).values()) == 1
    heavier = mix.replace("weight: 2", "weight: 3")
    refused = Session(overrides(sets, parted, heavier), tmp_path / "log3", resume=True)
    assert refused.wait() == 2
    assert "the recipe differs from the run's in data.train.mix" in refused.said()
