"""A headless Chromium that is told what to do over a pipe, in its DevTools protocol: open, wait, read, photograph.

Waiting is for what a page shows, never for a time. Nothing is started where no Chromium is installed: `find` says so.
"""

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from base64 import b64decode
from itertools import count
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--enable-unsafe-swiftshader", "--remote-debugging-pipe"),
]
# Chromium reads commands from file descriptor 3 and answers on 4.
COMMANDS, ANSWERS = 3, 4
SECONDS = 60.0
# What every expression may use. TensorBoard is made of shadow trees and a frame, which neither innerText nor
# querySelector look into: `seen()` is all text, `deep(selector)` the elements that a selector means.
HELPERS = """
const inside = node => [
  ...(node.nodeName === "IFRAME" && node.contentDocument?.body ? [node.contentDocument.body] : []),
  ...(node.shadowRoot ? node.shadowRoot.childNodes : []),
  ...node.childNodes,
];
const hidden = ["STYLE", "SCRIPT", "NOSCRIPT", "TEMPLATE", "DOM-MODULE"];
const read = node => node.nodeType === Node.TEXT_NODE ? node.textContent
  : hidden.includes(node.nodeName) ? "" : inside(node).map(read).join(" ");
const seen = () => read(document.body).replace(/\\s+/g, " ");
const deep = (selector, node = document.body) =>
  [...(node.matches?.(selector) ? [node] : []), ...inside(node).flatMap(each => deep(selector, each))];
"""


class BrowserError(Exception):
    """The browser is gone, or a page does not show what it should in time."""


def find() -> str | None:
    """Return the path of an installed Chromium, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of one browser; both are gone when the block is left, whatever happened in it."""

    def __init__(self, program: str, width: int = 1500, height: int = 1000) -> None:
        self._program, self._size = program, (width, height)
        self._numbers, self._buffer = count(1), b""
        self._session: str | None = None

    def __enter__(self) -> "Browser":
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        # Far from 3 and 4, so that neither is overwritten while the other is put in its place.
        commands, answers = (fcntl.fcntl(pipe, fcntl.F_DUPFD, 20) for pipe in (theirs_in, theirs_out))

        def connect() -> None:
            os.dup2(commands, COMMANDS)
            os.dup2(answers, ANSWERS)

        self._process = subprocess.Popen(
            [self._program, *FLAGS, f"--user-data-dir={self._profile.name}"],
            pass_fds=(COMMANDS, ANSWERS),
            preexec_fn=connect,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for pipe in (theirs_in, theirs_out, commands, answers):
            os.close(pipe)
        try:
            target = self._call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            self.resize(*self._size)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._profile.cleanup()

    @property
    def pid(self) -> int:
        return self._process.pid

    def resize(self, width: int, height: int) -> None:
        """Set the window's size in pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **metrics)

    def open(self, address: str) -> None:
        # Addresses that differ after the # alone would not be loaded anew.
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def seen(self) -> str:
        """Return all text of the page."""
        return str(self.ask("seen()"))

    def ask(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, which may use HELPERS. Raises BrowserError where it throws."""
        whole = f"(() => {{ {HELPERS} return ({expression}); }})()"
        answer = self._call("Runtime.evaluate", expression=whole, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = SECONDS) -> None:
        """Wait until a JavaScript expression is true. Raises BrowserError with what the page says where it never is."""
        until = time.monotonic() + seconds
        while not self.ask(f"Boolean({expression})"):
            if time.monotonic() > until:
                raise BrowserError(f"not so after {seconds:g} s: {expression}. The page: {self.seen()[:3000]}")
            time.sleep(0.2)

    def wait_for_words(self, words: list[str], seconds: float = SECONDS) -> None:
        """Wait until all the words are on the page."""
        self.wait(f"(text => {json.dumps(words)}.every(word => text.includes(word)))(seen())", seconds)

    def screenshot(self, calm: str = "null") -> bytes:
        """Return what the window shows as PNG, once two looks at it are the same: nothing moves or loads any more.

        calm: an expression that stops what would move for ever.
        """
        before, until = b"", time.monotonic() + SECONDS
        while True:
            self.ask(calm)
            now = b64decode(self._call("Page.captureScreenshot", format="png")["data"])
            if now == before:
                return now
            if time.monotonic() > until:
                raise BrowserError(f"the page never stands still: {self.seen()[:1000]}")
            before = now
            time.sleep(0.7)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + SECONDS
        while True:
            answer = self._read(until)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                return answer.get("result", {})

    def _read(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._from], [], [], max(0.0, until - time.monotonic()))[0]:
                raise BrowserError(f"{self._program} has not answered for {SECONDS:g} s.")
            if not (more := os.read(self._from, 1 << 16)):
                raise BrowserError(f"{self._program} has ended.")
            self._buffer += more
        answer, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(answer)
