from __future__ import annotations

import threading

import pytest

from mien.corpus.caption import CaptionError
from mien.corpus.caption_budget import FILE, Budget
from mien.corpus.caption_limits import Pause, TokenBucket


class _Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def _bucket(clock: _Clock, per_minute: float | None) -> TokenBucket:
    return TokenBucket(per_minute, 5.0, clock, clock.sleep)


def test_a_bucket_keeps_its_rate_after_the_burst():
    clock = _Clock()
    bucket = _bucket(clock, 60)
    assert [bucket.take() for _ in range(5)] == [0.0] * 5
    assert [bucket.take() for _ in range(4)] == pytest.approx([1.0] * 4)
    clock.now += 100
    assert [bucket.take() for _ in range(6)] == pytest.approx([0, 0, 0, 0, 0, 1])


def test_a_wish_larger_than_the_bucket_is_granted_and_paid_back():
    clock = _Clock()
    bucket = _bucket(clock, 600)
    assert bucket.take(250) == pytest.approx(20)
    assert bucket.take(10) == pytest.approx(1)
    bucket.correct(-5)
    assert bucket.take(10) == pytest.approx(0.5)
    bucket.correct(20)
    assert bucket.take(0) == pytest.approx(2)


def test_no_limit_never_waits():
    bucket = _bucket(_Clock(), None)
    assert sum(bucket.take(1e9) for _ in range(10)) == 0


def test_a_pause_is_prolonged_and_never_cut_short():
    clock = _Clock()
    pause = Pause(clock, clock.sleep)
    pause.ask(10)
    pause.ask(3)
    pause.wait()
    assert clock.now == 110
    pause.wait()
    assert clock.now == 110


def test_two_accounts_of_one_folder_share_the_limit(tmp_path):
    first, second = Budget(tmp_path, 1.0), Budget(tmp_path, 1.0)
    first.reserve(0.6)
    with pytest.raises(CaptionError, match="budget of 1 USD") as caught:
        second.reserve(0.5)
    assert caught.value.reason == "budget"
    first.settle(0.6, 0.1)
    second.reserve(0.5)
    assert first.spent() == second.spent() == Budget(tmp_path, None).spent() == pytest.approx(0.6)


def test_a_torn_line_spoils_no_other(tmp_path):
    Budget(tmp_path, None).reserve(0.25)
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"usd": 0.')
    account = Budget(tmp_path, None)
    account.reserve(0.5)
    assert account.spent() == Budget(tmp_path, None).spent() == pytest.approx(0.75)


def test_threads_never_pass_the_limit_together():
    account, made = Budget(None, 1.0), []

    def work() -> None:
        for _ in range(50):
            try:
                account.reserve(0.03)
            except CaptionError:
                return
            made.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 33
    assert account.spent() == pytest.approx(0.99)
