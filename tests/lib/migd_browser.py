# SPDX-License-Identifier: Apache-2.0
"""A real browser without a window: Chromium, driven over a pipe by its DevTools protocol."""

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
           "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe")
TIMEOUT_S = 120  # of everything: a machine of two cores may be busy


def program():
    """Its path, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class BrowserError(Exception):
    pass


class Browser:
    """One page. `errors`: what scripts threw and the page complained of; `requests`: addresses that it asked for."""

    def __init__(self, width=1100, height=1600):
        self.errors = []
        self.requests = []
        self._next = 0
        self._buffer = b""
        self._events = []
        self.cleanup = contextlib.ExitStack()
        try:
            self._start(width, height)
        except BaseException:
            self.close()
            raise

    def _start(self, width, height):
        folder = tempfile.mkdtemp(prefix="migd-browser-")
        self.cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        to_it, self._out = os.pipe()
        self._in, from_it = os.pipe()
        self.cleanup.callback(os.close, self._out)
        self.cleanup.callback(os.close, self._in)
        # It reads descriptor 3 and writes 4; what is there already is out of their way.
        theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_it, from_it)]
        argv = [program(), *OPTIONS, f"--user-data-dir={folder}", f"--window-size={width},{height}"]
        self.process = subprocess.Popen(["bash", "-c", f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}', "bash", *argv], pass_fds=theirs,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env={**os.environ, "TMPDIR": folder}, start_new_session=True)
        self.cleanup.callback(self._end)
        for fd in (to_it, from_it, *theirs):
            os.close(fd)
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in "Page", "Runtime", "Log", "Network":
            self.call(f"{domain}.enable")

    def _end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.wait()

    def close(self):
        self.cleanup.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    # The protocol.

    def _read(self, deadline):
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], max(0, deadline - time.monotonic()))[0]:
                raise BrowserError("the browser does not answer")
            data = os.read(self._in, 1 << 20)
            if not data:
                raise BrowserError(f"the browser ended: {self.process.wait()}")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(line)

    def _note(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        self._events.append(method)

    def call(self, method, **params):
        self._next += 1
        request = {"id": self._next, "method": method, "params": params}
        if self._session:
            request["sessionId"] = self._session
        os.write(self._out, json.dumps(request).encode() + b"\0")
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            message = self._read(deadline)
            if message.get("id") == self._next:
                if "error" in message:
                    raise BrowserError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message)

    # What tests do.

    def open(self, path):
        """A file, until it is loaded and its scripts ran."""
        self._events.clear()
        self.call("Page.navigate", url="file://" + path)
        deadline = time.monotonic() + TIMEOUT_S
        while "Page.loadEventFired" not in self._events:
            self._note(self._read(deadline))

    def evaluate(self, expression):
        """The value of an expression of JavaScript."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise BrowserError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def point_at(self, selector, x=0.5):
        """The pointer over an element, at that part of its width."""
        box = self.evaluate(f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView(); "
                            "const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()")
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + box[2] * x, y=box[1] + box[3] / 2)
