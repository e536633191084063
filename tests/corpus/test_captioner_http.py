from __future__ import annotations

import contextlib
import copy
import gzip
import io
import json
import logging
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from PIL import Image

from corpus.caption_server import GOOD, chat, cut, drip, huge, reset, send, serving, silent, status
from mien import cli_corpus_captions
from mien.corpus.caption import REASONS, CaptionError
from mien.corpus.caption_gates import judge
from mien.corpus.caption_prompt import load_prompt
from mien.corpus.captioner_http import HttpCaptioner
from mien.corpus.captioner_options import HttpOptions, load_options, make_options
from mien.corpus.captioner_wire import retry_after
from mien.errors import DataError

KEY = "sk-very-secret-0123456789"


def _picture(shade: int = 0) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, 20, 30)).save(target, "PNG")
    return target.getvalue()


def _captioner(url: str, waits: list[float] | None = None, **changes) -> HttpCaptioner:
    rows = {"base_url": url, "model": "vision-1", "timeout_s": 5.0, "attempts": 3, **changes}
    sleep = time.sleep if waits is None else waits.append
    return HttpCaptioner(make_options(rows), sleep)


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def _reason(captioner: HttpCaptioner, shade: int = 0) -> str:
    with pytest.raises(CaptionError) as caught:
        captioner(_picture(shade))
    assert caught.value.reason in REASONS
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value.reason


def test_a_good_answer_and_what_was_asked():
    with serving(chat(GOOD)) as (server, url):
        made = _captioner(url, usd_per_million_in=1.0, usd_per_million_out=10.0)(_picture())
    assert made.record() == GOOD
    assert judge(made.record()) == []
    assert (made.usage.tokens_in, made.usage.tokens_out, made.usage.requests) == (1000, 200, 1)
    assert made.usage.usd == pytest.approx(0.001 + 0.002)
    body = server.asked[0]
    assert body["temperature"] <= 0.4
    schema = body["response_format"]["json_schema"]["schema"]
    assert set(schema["required"]) == {"global", "locals", "summary"}
    assert schema["additionalProperties"] is False
    text, picture = body["messages"][1]["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert "Never say or guess who it is" in text["text"]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("act", "reason", "requests", "changes"),
    [
        (silent(1.0), "timeout", 3, {"timeout_s": 0.15}),
        (drip, "timeout", 3, {"timeout_s": 0.2}),
        (reset, "connection", 3, {}),
        (cut, "connection", 3, {}),
        (status(500), "server", 3, {}),
        (status(503), "server", 3, {}),
        (status(429), "rate_limited", 3, {}),
        (status(429, Retry_After="9999"), "rate_limited", 1, {}),
        (status(400), "rejected", 1, {}),
        (status(302, Location="http://127.0.0.1:1/"), "rejected", 1, {}),
        (status(401, f"Incorrect API key provided: {KEY}"), "auth", 1, {}),
        (huge, "too_large", 1, {}),
        (lambda h: send(h, b"<html>hello</html>", kind="text/html"), "server", 3, {}),
        (lambda h: send(h, b'{"choices": [{"mess'), "broken_json", 3, {}),
        (lambda h: send(h, b"[1, 2]"), "broken_json", 3, {}),
        (
            lambda h: send(h, gzip.compress(bytes(1 << 20)), Content_Encoding="gzip"),
            "broken_json",
            3,
            {},
        ),
        (b'{"choices": []}', "server", 1, {}),
        (chat("{'global': no json"), "broken_json", 3, {}),
        (chat(json.dumps(GOOD)[:-40]), "broken_json", 3, {}),
        (chat(None), "broken_json", 3, {}),
        (chat({**GOOD, "locals": GOOD["locals"][:2]}), "schema", 3, {}),
        (chat({**GOOD, "note": "more"}), "schema", 3, {}),
        (chat("I'm sorry, but I can't help with identifying people."), "refused", 1, {}),
        (chat(None, refusal="I cannot do that."), "refused", 1, {}),
    ],
)
def test_a_server_that_never_mends_its_ways(act, reason, requests, changes):
    with serving(act) as (server, url):
        captioner = _captioner(url, [], **changes)
        started = time.monotonic()
        assert _reason(captioner) == reason
        assert server.count == requests
        assert time.monotonic() - started < 4, "no reply may hold a thread longer than its time"


def test_no_server_at_all():
    with serving(chat(GOOD)) as (_, url):
        pass
    assert _reason(_captioner(url, [])) == "connection"


@pytest.mark.parametrize(
    "faults",
    [
        [status(500), status(503)],
        [reset, status(429, Retry_After="1")],
        [cut, lambda h: send(h, b"{")],
        [lambda h: send(h, b"", kind="text/html"), status(408)],
    ],
)
def test_valid_after_faults_that_pass(faults):
    with serving(*faults, chat(GOOD)) as (server, url):
        made = _captioner(url, [])(_picture())
    assert server.count == made.usage.requests == 3
    assert made.record() == GOOD


def test_a_wrong_schema_is_told_to_the_model():
    wrong = copy.deepcopy(GOOD)
    wrong["locals"][1]["region"] = "left cheek"
    with serving(chat(wrong), chat("no json"), chat(GOOD)) as (server, url):
        made = _captioner(url, [])(_picture())
    assert made.record() == GOOD
    assert "locals.1.region" in server.asked[1]["messages"][-1]["content"]
    assert "not valid JSON" in server.asked[2]["messages"][-1]["content"]
    assert [len(body["messages"]) for body in server.asked] == [2, 4, 4]
    assert made.usage.tokens_in == 3000


def test_a_fence_around_the_json_is_no_fault():
    with serving(chat(f"```json\n{json.dumps(GOOD)}\n```")) as (server, url):
        assert _captioner(url)(_picture()).record() == GOOD
    assert server.count == 1


def test_a_lie_about_sides_fits_the_schema_and_fails_the_gate():
    lie = copy.deepcopy(GOOD)
    lie["locals"][1] |= {"text": "The left brow is raised.", "region": "brows", "au": [2]}
    with serving(chat(lie)) as (_, url):
        record = _captioner(url)(_picture()).record()
    even = {2: (0.6, 0.6), 12: (0.5, 0.5), 6: (0.4, 0.4)}
    assert judge(record, even) == ["asymmetry_unseen"]
    assert judge(record, {**even, 2: (0.6, 0.1)}) == []
    assert judge(record) == []


def test_retry_after_holds_for_every_thread():
    with serving(status(429, Retry_After="1"), chat(GOOD)) as (server, url):
        captioner = _captioner(url)
        captioner(_picture())
        assert server.times[1] - server.times[0] >= 1.0


def test_retry_after_of_all_forms():
    assert retry_after("7") == 7.0
    assert retry_after("Thu, 01 Jan 1970 00:02:00 GMT", lambda: 60.0) == 60.0
    assert retry_after("Thu, 01 Jan 1970 00:00:00 GMT", lambda: 60.0) == 0.0
    assert retry_after("soon") is None
    assert retry_after(None) is None


def test_back_off_grows_and_is_jittered():
    waits: list[float] = []
    with serving(status(500)) as (_, url):
        for shade in range(8):
            _reason(_captioner(url, waits, attempts=6), shade)
    rounds = [waits[i : i + 5] for i in range(0, 40, 5)]
    for number in range(5):
        column = [row[number] for row in rounds]
        assert max(column) <= 0.5 * 2**number
        assert len(set(column)) == 8
    assert max(row[4] for row in rounds) > 1.0


def test_cache_survives_a_restart_and_is_keyed_by_what_matters(tmp_path):
    with serving(chat(GOOD)) as (server, url):
        first = _captioner(url, cache=tmp_path)(_picture())
        again = _captioner(url, cache=tmp_path)(_picture())
        assert server.count == 1
        assert again.record() == first.record()
        assert again.usage.cached
        assert again.usage.usd == 0
        for changes in ({"temperature": 0.1}, {"model": "vision-2"}):
            _captioner(url, cache=tmp_path, **changes)(_picture())
        _captioner(url, cache=tmp_path)(_picture(9))
        assert server.count == 4
    offline = _captioner("http://127.0.0.1:9/v1", cache=tmp_path)
    assert offline(_picture()).record() == GOOD


def test_a_damaged_cache_file_is_made_again(tmp_path, caplog):
    with serving(chat(GOOD)) as (server, url):
        _captioner(url, cache=tmp_path)(_picture())
        (file,) = tmp_path.glob("*/*.json")
        whole = file.read_bytes()
        for damaged in (whole[:100], b"[]", whole.replace(b'"mouth"', b'"knee"')):
            file.write_bytes(damaged)
            assert _captioner(url, cache=tmp_path)(_picture()).record() == GOOD
            assert "made again" in caplog.text
        assert server.count == 4
    assert not list(tmp_path.glob("*/.*"))


def test_failures_are_not_cached(tmp_path):
    with serving(chat("I'm sorry, I can't."), chat(GOOD)) as (_, url):
        captioner = _captioner(url, cache=tmp_path)
        assert _reason(captioner) == "refused"
        assert captioner(_picture()).record() == GOOD


_PROCESS = """
import sys
from pathlib import Path
from mien.corpus.captioner_http import HttpCaptioner
from mien.corpus.captioner_options import make_options
url, cache = sys.argv[1:]
captioner = HttpCaptioner(make_options({"base_url": url, "model": "vision-1", "cache": cache}))
for path in sorted(Path(cache).parent.glob("*.png")):
    captioner(path.read_bytes())
"""


def test_two_processes_share_a_cache(tmp_path):
    for shade in range(6):
        (tmp_path / f"{shade}.png").write_bytes(_picture(shade))
    cache = tmp_path / "cache"
    with serving(chat(GOOD)) as (server, url):
        command = [sys.executable, "-c", _PROCESS, url, str(cache)]
        running = [subprocess.Popen(command) for _ in range(2)]
        assert [process.wait(120) for process in running] == [0, 0]
        assert 6 <= server.count <= 12
        before = server.count
        captioner = _captioner(url, cache=cache)
        assert all(captioner(_picture(shade)).usage.cached for shade in range(6))
        assert server.count == before
    assert len(list(cache.glob("*/*.json"))) == 6


PRICES = {"usd_per_million_in": 1000.0, "usd_per_million_out": 1000.0, "max_tokens": 500}


def test_budget_is_hard_over_threads_and_restarts(tmp_path):
    money = {**PRICES, "budget_usd": 10.0, "cache": tmp_path, "concurrency": 8}
    with serving(chat(GOOD)) as (server, url):
        captioner = _captioner(url, **money)

        def one(shade: int) -> str:
            try:
                captioner(_picture(shade))
            except CaptionError as error:
                return error.reason
            return "made"

        with ThreadPoolExecutor(8) as pool:
            ends = list(pool.map(one, range(30)))
        made = ends.count("made")
        assert set(ends) == {"made", "budget"}
        assert server.count == made
        assert captioner.budget.spent() == pytest.approx(made * 1.2)
        assert captioner.budget.spent() <= 10.0
        for shade in range(100, 120):
            with contextlib.suppress(CaptionError):
                _captioner(url, **money)(_picture(shade))
        count = server.count
        assert captioner.budget.spent() == pytest.approx(count * 1.2)
        assert 7 < captioner.budget.spent() <= 10
        assert _reason(_captioner(url, **money), 255) == "budget"
        assert server.count == count, "nothing is sent that the budget might not cover"
        assert _captioner(url, **money)(_picture(ends.index("made"))).usage.cached


def test_what_may_have_been_billed_counts_as_the_most(tmp_path):
    with serving(cut, status(500), chat(GOOD)) as (_, url):
        captioner = _captioner(url, [], **PRICES, cache=tmp_path)
        usd = captioner(_picture()).usage.usd
    most = usd - 1.2
    assert most > 2.0, "the cut reply counts, the 500 does not"
    assert captioner.budget.spent() == pytest.approx(usd)


def test_a_reply_without_usage_counts_as_the_most():
    reply = json.loads(chat(GOOD))
    del reply["usage"]
    with serving(json.dumps(reply).encode()) as (_, url):
        usage = _captioner(url, **PRICES)(_picture()).usage
    assert usage.tokens_out == 500
    assert usage.tokens_in > 1500


def test_concurrency_and_rate():
    def slow(handler):
        time.sleep(0.05)
        send(handler, chat(GOOD))

    with serving(slow) as (server, url):
        captioner = _captioner(url, concurrency=2, requests_per_minute=600)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda shade: captioner(_picture(shade)), range(60)))
    assert server.most_under_way <= 2
    assert server.times[-1] - server.times[0] >= 0.8, "50 at once, then ten a second"


def test_a_wrong_key_is_tried_once_only():
    with serving(status(401)) as (server, url):
        captioner = _captioner(url)
        assert [_reason(captioner, shade) for shade in range(4)] == ["auth"] * 4
        assert server.count == 1


def test_the_key_is_in_no_file_and_no_log(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    acts = [status(500, KEY), chat(f"Bearer {KEY}"), chat(GOOD), status(400, f"bad key {KEY}")]
    with serving(*acts) as (_, url):
        captioner = _captioner(url, [], cache=tmp_path, **PRICES)
        captioner(_picture())
        assert _reason(captioner, 2) == "rejected"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert all(KEY.encode() not in path.read_bytes() for path in files)
    assert KEY not in caplog.text
    assert KEY not in repr(captioner.__dict__)


@pytest.mark.parametrize("picture", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", bytes(9 << 20)])
def test_what_is_no_picture_is_not_sent(picture):
    with serving(chat(GOOD)) as (server, url):
        with pytest.raises(CaptionError) as caught:
            _captioner(url)(picture)
        assert caught.value.reason == "picture"
        assert server.count == 0


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ({"base_url": "http://example.org/v1"}, "in the clear"),
        ({"base_url": "https://me:secret@example.org/v1"}, "holds a user"),
        ({"base_url": "https://example.org/v1?key=1"}, "a query"),
        ({"base_url": "ftp://example.org"}, "no address"),
        ({"base_url": "https://[1"}, "no address"),
        ({"temperature": 0.7}, "temperature"),
        ({"budget_usd": 3}, "without prices"),
        ({"tries": 4}, "tries"),
        ({"modle": "x"}, "modle"),
        ({"key_env": "sk-123"}, "key_env"),
    ],
)
def test_bad_options_are_one_line(rows, word):
    with pytest.raises(DataError, match=word) as caught:
        make_options({"base_url": "https://example.org/v1", "model": "m", **rows})
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_options_from_a_file_and_the_command_line(tmp_path, monkeypatch):
    file = tmp_path / "options.yaml"
    file.write_text("base_url: http://10.0.0.1/v1\nmodel: m\n", encoding="utf-8")
    options = load_options(file, ["allow_http=true", "temperature=0.3", "key_env=OTHER_KEY"])
    assert (options.temperature, options.allow_http) == (0.3, True)
    monkeypatch.delenv("OTHER_KEY", raising=False)
    with pytest.raises(DataError, match="OTHER_KEY"):
        HttpCaptioner(options)
    for bad in (Path("absent.yaml"), tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            load_options(bad)
    file.write_text("- 1\n", encoding="utf-8")
    with pytest.raises(DataError, match="no options"):
        load_options(file)


def test_hints_are_told_only_if_wanted_and_are_part_of_what_is_kept(tmp_path):
    units = {12: (0.7, 0.4), 4: (0.3, 0.3), 1: (0.1, 0.1), 99: (1.0, 1.0)}
    told = "AU 4 brow lowerer 0.30; AU 12 lip corner puller 0.70 (left 0.70, right 0.40)"
    with serving(chat(GOOD)) as (server, url):
        plain, hinted = _captioner(url, cache=tmp_path), _captioner(url, cache=tmp_path, hints=True)
        assert (plain.uses_units, hinted.uses_units) == (False, True)
        assert plain.prompt_sha != hinted.prompt_sha
        for captioner, other in ((plain, None), (plain, units), (plain, {}), (hinted, units), (hinted, {})):
            captioner(_picture(), other)
        assert hinted(_picture(), units).usage.cached
        texts = [asked["messages"][1]["content"][0]["text"] for asked in server.asked]
    assert [told in text for text in texts] == [False, True, False]
    assert "from 0 to 1: none." in texts[2]
    assert texts[1].startswith(texts[0])


def test_hints_need_their_text_in_a_prompt_file(tmp_path):
    file = tmp_path / "prompt.yaml"
    file.write_text("system: a\ntask: b\nrepair: 'c {problem}'\n", encoding="utf-8")
    assert load_prompt(file).hints == ""
    with pytest.raises(DataError, match="prompt without hints"):
        load_prompt(file, hints=True)
    file.write_text(file.read_text() + "hints: 'seen {units}'\n", encoding="utf-8")
    assert load_prompt(file, hints=True).hints == "seen {units}"
    assert load_prompt(file).sha != load_prompt(file, hints=True).sha


def test_a_failure_tells_what_it_took():
    with serving(chat("{")) as (_, url), pytest.raises(CaptionError) as caught:
        _captioner(url, usd_per_million_in=1.0)(_picture())
    usage = caught.value.usage
    assert (usage.requests, usage.tokens_in, usage.tokens_out) == (3, 3000, 600)
    assert usage.usd == pytest.approx(0.003)


def test_the_example_loads_and_tells_every_option_with_its_default(tmp_path, capsys):
    cli_corpus_captions.captioner_example()
    text = capsys.readouterr().out
    file = tmp_path / "http.yaml"
    file.write_text(text, encoding="utf-8")
    assert load_options(file).budget_usd == 5.0
    # With every `# name:` line taken in, it is whole and holds the defaults.
    lines = [line.removeprefix("# ") for line in text.splitlines() if re.match(r"(# )?[a-z_]+:( |$)", line)]
    told = yaml.safe_load("\n".join(lines))
    assert set(told) == set(HttpOptions.model_fields)
    shown = {line.partition(":")[0] for line in text.splitlines() if re.match("[a-z_]+:", line)}
    for name in set(told) - shown:
        assert told[name] == HttpOptions.model_fields[name].default, name
