"""`mien demo` as a process of its own, and a real browser before it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from editing_runs import untrained

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""


NETWORKS = (
    "model.unet.channels=[16,16]", "model.unet.groups=4", "model.unet.heads=2", "model.unet.prompt_width=8",
)  # fmt: skip


class Served:
    """A page that is up.

    Args:
        folder: empty; gets the working folder, the temporary folder and the log of the process.
        arguments: of `mien demo`.
    """

    def __init__(self, folder: Path, *arguments: object) -> None:
        self.cwd, self.temporary, self.log = folder / "cwd", folder / "tmp", folder / "terminal.log"
        for made in (self.cwd, self.temporary):
            made.mkdir()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mien", "demo", *map(str, arguments), "--port", "0", "--no-browser"],
                cwd=self.cwd, env={**os.environ, "TMPDIR": str(self.temporary)}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.url = self._address()

    def _address(self) -> str:
        while (found := re.search(r"^http://\S+$", self.said(), re.MULTILINE)) is None:
            assert self.process.poll() is None, self.said()
            time.sleep(0.2)
        return found[0]

    def said(self) -> str:
        """Everything on the terminal."""
        return self.log.read_text(errors="replace")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait()

    def ask(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and text of an answer."""
        request = urllib.request.Request(self.url + path, body, headers or {})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")

    def upload(self, name: str, data: bytes) -> tuple[int, str]:
        """Through the route that the page uploads by; `name` as it stands, which no browser would send."""
        head = f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + data + b"\r\n--edge--\r\n"
        return self.ask("gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=edge"})

    def call(self, element: str, event: str, values: list[Any]) -> str:
        """What a handler answers to values that no browser would send."""
        config = json.loads(self.ask("config")[1])
        (target,) = (one["id"] for one in config["components"] if one["props"].get("elem_id") == element)
        (number,) = (one["id"] for one in config["dependencies"] if [target, event] in one["targets"])
        who = os.urandom(6).hex()
        body = json.dumps({"data": values, "fn_index": number, "session_hash": who}).encode()
        status, text = self.ask("gradio_api/queue/join", body, {"Content-Type": "application/json"})
        return text if status != 200 else self.ask(f"gradio_api/queue/data?session_hash={who}")[1]


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser of the system's."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        try:
            yield browser
        finally:
            browser.close()


def serving(factory: pytest.TempPathFactory, editor: str, reader: str) -> Iterator[Served]:
    """The page of an untrained run of a recipe, with an untrained reader."""
    root = factory.mktemp("runs")
    run = untrained(root, editor, *NETWORKS)
    seeing = untrained(root, reader, "model.widths=[8,8,8,8]")
    page = Served(factory.mktemp("page"), run, "--reader", seeing)
    yield page
    page.end(9)


def opened(served: Served, browser: Any, asked: list[str] | None = None) -> Any:
    """A page of a new visitor; `asked` gets the address of all that the browser asks for."""
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    if asked is not None:
        page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(300_000)
    page.goto(served.url)
    page.wait_for_selector("#edit")
    return page


def said(page: Any, text: str) -> str:
    """The line on the page, once it holds `text`."""
    page.wait_for_function("t => document.querySelector('#status').innerText.includes(t)", arg=text)
    return page.inner_text("#status p")


def put(page: Any, element: str, value: float) -> None:
    """Type a number beside a slider, once the slider is there, and wait until the slider stands there."""
    stands = "([id, to]) => { const at = k => document.querySelector(`#${id} input[type=${k}]`)?.value;"
    page.wait_for_function(stands + "return at('range') && at('range') == at('number') }", arg=[element, 0])
    box = page.locator(f"#{element} input[type=number]")
    box.fill(f"{value:g}")
    box.press("Enter")
    page.wait_for_function(stands + "return at('range') == to }", arg=[element, f"{value:g}"])


def send(page: Any, name: str, data: bytes) -> None:
    page.set_input_files(
        "#upload input[type=file]", [{"name": name, "mimeType": "image/png", "buffer": data}]
    )
