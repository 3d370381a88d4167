# SPDX-License-Identifier: Apache-2.0
"""A QMP client: enough of it to drive a migration, and to wait for both ends of one at once."""
import json
import select
import socket
import time

FINAL = ("completed", "failed", "cancelled", "postcopy-paused")  # of a benchmark: nobody recovers it


class QmpError(Exception):
    pass


class Qmp:
    """One session. NAME says in errors who did not answer; ALIVE() is None while that process runs, else its last words."""

    def __init__(self, path, name, alive, timeout_s=20):
        self.name = name
        self.alive = alive
        self.events = []  # (when it arrived, event)
        self.pending = b""
        self.sock = self._connect(path, time.monotonic() + timeout_s)
        if "QMP" not in self._message(time.monotonic() + timeout_s):
            raise QmpError(f"{name}: no QMP greeting at '{path}'")
        self.execute("qmp_capabilities")

    def _connect(self, path, deadline):
        while True:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(path)
                return sock
            except OSError as e:
                sock.close()
                self._check_alive()
                if time.monotonic() > deadline:
                    raise QmpError(f"{self.name}: nobody listens on '{path}': {e}") from e
                time.sleep(0.02)

    def _check_alive(self):
        last_words = self.alive()
        if last_words is not None:
            raise QmpError(f"{self.name} ended: {last_words}")

    def fileno(self):
        return self.sock.fileno()

    def close(self):
        self.sock.close()

    def _receive(self, timeout_s):
        """Take in what arrives within that time. False: nothing did."""
        if not select.select([self.sock], [], [], max(timeout_s, 0))[0]:
            return False
        data = self.sock.recv(65536)
        if not data:
            time.sleep(0.1)  # for its process to be seen as ended
            self._check_alive()
            raise QmpError(f"{self.name} closed its QMP socket")
        self.pending += data
        return True

    def _take(self):
        """The next whole message that has arrived, or None."""
        if b"\n" not in self.pending:
            return None
        line, self.pending = self.pending.split(b"\n", 1)
        return json.loads(line)

    def _message(self, deadline):
        while True:
            message = self._take()
            if message is not None:
                return message
            if not self._receive(deadline - time.monotonic()):
                raise QmpError(f"{self.name} does not answer")

    def _keep(self, message):
        if "event" in message:
            self.events.append((time.monotonic(), message))

    def execute(self, command, arguments=None, timeout_s=60):
        request = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        self.sock.sendall(json.dumps(request).encode() + b"\n")
        deadline = time.monotonic() + timeout_s
        while True:
            message = self._message(deadline)
            if "error" in message:
                raise QmpError(f"{self.name}: {command}: {message['error'].get('desc')}")
            if "return" in message:
                return message["return"]
            self._keep(message)

    def drain(self):
        """Take in the events that have arrived, without waiting."""
        while self._receive(0):
            pass
        while True:
            message = self._take()
            if message is None:
                return
            self._keep(message)

    def first_status(self, wanted):
        """(status, when) of the first MIGRATION event with one of these states, or None."""
        for when, event in self.events:
            if event["event"] == "MIGRATION" and event["data"]["status"] in wanted:
                return event["data"]["status"], when
        return None

    def final_status(self):
        return self.first_status(FINAL)

    def wait_status(self, wanted, timeout_s):
        """Until there was a MIGRATION event with one of these states: (status, when)."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.drain()
            found = self.first_status(wanted)
            if found:
                return found
            if not select.select([self], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise QmpError(f"{self.name}: not {' or '.join(wanted)} within {timeout_s:g} s")


def wait_final(sessions, timeout_s, every_s, tick):
    """Wait until each session saw its migration end; TICK() runs at least that often. The list of (status, when)."""
    deadline = time.monotonic() + timeout_s
    while True:
        tick()
        for session in sessions:
            session.drain()
        ends = [session.final_status() for session in sessions]
        # A source that failed has no more to wait for: its target may never learn.
        if all(ends) or (ends[0] and ends[0][0] != "completed"):
            return ends
        if time.monotonic() > deadline:
            names = " and ".join(s.name for s, end in zip(sessions, ends) if end is None)
            raise QmpError(f"the migration did not end within {timeout_s:g} s: {names}")
        select.select(sessions, [], [], every_s)
