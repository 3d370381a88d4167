# SPDX-License-Identifier: Apache-2.0
"""
A raw QMP client for tests: no convenience that could hide what is on the wire. Whatever a migd sends has to be as its own
schema says (migd_schema); if it is not, the test fails.
"""

import collections
import json
import os
import select
import socket
import time

import migd_schema


class QmpError(Exception):
    """An error that the server answered."""

    def __init__(self, command, error):
        super().__init__(f"{command}: {error['class']}: {error['desc']}")
        self.cls = error["class"]
        self.desc = error["desc"]


class QmpClosed(Exception):
    """The server closed the connection."""


class Event(dict):
    """An event; `.at` is the monotonic time at which it was read."""

    def __init__(self, obj):
        super().__init__(obj)
        self.at = time.monotonic()
        self.name = obj["event"]
        self.data = obj.get("data", {})
        self.guest = obj.get("guest", self.data.get("guest"))


class Qmp:
    """
    One session. Events are kept in `events`, all of them, in order. `record`: called with ">" or "<" and bytes. `check`: compare
    what comes with the schema.
    """

    def __init__(self, path, negotiate=True, timeout=20, record=None, check=True):
        self.path = path
        self.check = check
        self.record = record or (lambda direction, data: None)
        self.timeout = timeout
        self.events = []
        self.greeting = None  # until it came
        self._buf = b""
        self._seen = 0  # events that wait_event() has looked at
        self._lines = collections.deque()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.greeting = self._message(time.monotonic() + timeout)
        if negotiate:
            self.command("qmp_capabilities")

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def schema(self):
        """The server's; None: what comes is not checked."""
        if not self.check:
            return None
        return migd_schema.of_server(self.sock, self.greeting, self._fetch_schema)

    def _fetch_schema(self):
        with Qmp(self.path, timeout=self.timeout, check=False) as qmp:
            return qmp.command("query-qmp-schema")

    def send(self, data, fds=()):
        """Bytes as they are, and descriptors with the first of them."""
        self.record(">", data)
        if fds:
            done = socket.send_fds(self.sock, [data], fds)
            data = data[done:]
        self.sock.sendall(data)

    def receive(self, timeout=None):
        """The next message, whatever it is."""
        return self._message(time.monotonic() + (self.timeout if timeout is None else timeout))

    def command(self, name, arguments=None, timeout=None, fds=()):
        """Execute and return the value of "return"; QmpError otherwise. `fds` go with the command's bytes."""
        request = {"execute": name, "id": os.urandom(4).hex()}
        schema = self.schema()
        if arguments is not None:
            request["arguments"] = arguments
        self.send(json.dumps(request).encode() + b"\n", fds)
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            message = self._message(deadline)
            if "event" in message:
                self.events.append(Event(message))
                continue
            # A QEMU 7.2 to which one connects while it opens its socket greets twice.
            if "QMP" in message and name == "qmp_capabilities":
                continue
            if message.get("id") != request["id"]:
                raise AssertionError(f"{name}: the answer has another id: {message}")
            if "error" in message:
                raise QmpError(name, message["error"])
            if schema:
                schema.check_return(name, message["return"])
            return message["return"]

    def poll_events(self, timeout=0):
        """Read the events that are there, waiting at most `timeout` seconds for the first."""
        while True:
            try:
                message = self._message(time.monotonic() + timeout)
            except TimeoutError:
                return self.events
            if "event" not in message:
                raise AssertionError(f"an answer that nobody asked for: {message}")
            self.events.append(Event(message))
            timeout = 0

    def wait_event(self, name, timeout=None, guest=None, **data):
        """The next event of that name and data that no earlier wait_event() went past."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            while self._seen < len(self.events):
                event = self.events[self._seen]
                self._seen += 1
                if event.name != name or (guest and event.guest not in (None, guest)):
                    continue
                if all(event.data.get(k.replace("_", "-")) == v for k, v in data.items()):
                    return event
            try:
                message = self._message(deadline)
            except TimeoutError:
                got = [(e.name, e.data) for e in self.events]
                raise AssertionError(f"event {name} {data} did not come; there were {got}") from None
            self.events.append(Event(message))

    def skip_events(self):
        """Let wait_event() look only at what comes from now on."""
        self.poll_events()
        self._seen = len(self.events)

    def _message(self, deadline):
        while not self._lines:
            left = deadline - time.monotonic()
            if not select.select([self.sock], [], [], max(0, left))[0]:
                raise TimeoutError(f"no message from {self.path}")
            data = self.sock.recv(1 << 20)
            if not data:
                raise QmpClosed(f"{self.path}: closed by the server")
            *lines, self._buf = (self._buf + data).split(b"\n")
            for line in lines:
                self.record("<", line)
            self._lines.extend(line for line in lines if line.strip())
        message = json.loads(self._lines.popleft())
        if "QMP" not in message and self.schema():
            self.schema().check_message(message)
        return message
