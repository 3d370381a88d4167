# SPDX-License-Identifier: Apache-2.0
"""Programs on a terminal of their own, typed at."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

from migd_process import SLOW

# Colours, cursor movements, titles: what is not text.
CONTROL = re.compile(r"\x1b\[[0-9;?>]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[=>]")


class Terminal:
    """with Terminal([...]) as tty: tty.type("help\\r"); tty.expect("regex")."""

    def __init__(self, argv, env=None, columns=120, cwd=None):
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            if cwd:
                os.chdir(cwd)
            os.execvpe(argv[0], argv, {**os.environ, "TERM": "xterm", **(env or {})})
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def type(self, text):
        os.write(self.fd, text.encode())

    def _read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def plain(self):
        return CONTROL.sub("", self.text)

    def expect(self, pattern, timeout=30):
        """Wait until what came since the last expect() has PATTERN; returns that match, and forgets what was before its end."""
        deadline = time.monotonic() + timeout * SLOW
        while True:
            found = re.search(pattern, self.plain())
            if found:
                self.text = self.plain()[found.end():]
                return found
            if time.monotonic() > deadline or not self._read(0.1):
                raise AssertionError(f"the terminal does not show {pattern!r}, but {self.plain()!r}")

    def leave(self, timeout=30):
        """Ctrl-D, until it ends: one that comes while the terminal is not the editor's is lost. Its exit status.

        Ctrl-U before it: Readline takes a Ctrl-D that follows another for a mistake of one who deletes.
        """
        for _ in range(timeout):
            self.type("\x15\x04")
            with contextlib.suppress(AssertionError):
                return self.wait(1)
        return self.wait(1)

    def wait(self, timeout=30):
        """Its exit status, once it ended by itself."""
        deadline = time.monotonic() + timeout * SLOW
        while time.monotonic() < deadline:
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"the program does not end; it shows {self.plain()!r}")

    def close(self):
        if self.pid:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):  # whoever ended all of a test's children was first
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            self.pid = 0
        os.close(self.fd)
