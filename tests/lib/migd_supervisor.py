# SPDX-License-Identifier: Apache-2.0
"""A service manager for one daemon, with systemd's protocols: listening sockets and stored descriptors are passed by number
(sd_listen_fds(3)), the daemon says how it is over a datagram socket (sd_notify(3))."""

import array
import contextlib
import fcntl
import os
import socket
import threading

import migd_process
from migd_process import wait_until

# Above what a shell uses itself.
HIGH_FD = 100
DATAGRAM_MAX = 8192
FDS_MAX = 32


def identity(fd):
    """systemd stores no descriptor twice."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


class Supervisor:
    """`sockets`: {name: a listening socket}, kept open from one daemon to the next. `.stored`: [(name, descriptor)]."""

    def __init__(self, test, name, sockets=(), watchdog_usec=None):
        self.test = test
        self.name = name
        self.base = os.path.join(test.dir, name)
        os.makedirs(self.base, exist_ok=True)
        self.sockets = dict(sockets)
        self.stored = []
        self.messages = []  # [{key: value}], of all daemons, in order
        self.watchdog_usec = watchdog_usec
        self.daemon = None
        self.path = os.path.join(self.base, "notify")
        self._lock = threading.Lock()
        self._receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._receiver.bind(self.path)
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()
        test.cleanup.callback(self.close)

    def close(self):
        with contextlib.suppress(OSError):
            self._receiver.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._receiver.close()
        for _, fd in self.stored:
            os.close(fd)
        self.stored = []

    def listen(self, name, path, kind=socket.SOCK_STREAM):
        """What a socket unit does."""
        listener = socket.socket(socket.AF_UNIX, kind)
        listener.bind(path)
        listener.listen(64)
        self.sockets[name] = listener
        self.test.cleanup.callback(listener.close)
        return path

    def listen_for_all(self):
        """The sockets that migd.socket and migd-attach.socket make, where Daemon looks for them."""
        self.listen("qmp", os.path.join(self.base, "qmp"))
        self.listen("attach", os.path.join(self.base, "attach"), socket.SOCK_SEQPACKET)

    def start(self, ready=True, **options):
        """A daemon, as migd_process.Daemon; it succeeds the last one."""
        first = len(self.messages)
        with self._lock:
            passed = [(name, s.fileno()) for name, s in self.sockets.items()] + self.stored
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, HIGH_FD) for _, fd in passed]
        env = {"NOTIFY_SOCKET": self.path, **options.pop("env", {})}
        if passed:
            env.update(LISTEN_FDS=str(len(passed)), LISTEN_FDNAMES=":".join(name for name, _ in passed))
        if self.watchdog_usec:
            env.update(WATCHDOG_USEC=str(self.watchdog_usec))
        self.daemon = migd_process.Daemon(self.test, self.name, pass_fds=high, ready=False, env=env, **options)
        for fd in high:
            os.close(fd)
        if ready:
            wait_until(lambda: self.said("READY", first), "READY=1", alive=[self.daemon])
        return self.daemon

    def _receive(self):
        while True:
            try:
                data, control, _flags, _address = self._receiver.recvmsg(DATAGRAM_MAX, socket.CMSG_SPACE(FDS_MAX * 4))
            except OSError:
                return
            fds = array.array("i")
            for level, kind, payload in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.frombytes(payload)
            if not data and not fds:
                return
            self._take(dict(line.split("=", 1) for line in data.decode().splitlines()), list(fds))

    def _take(self, message, fds):
        with self._lock:
            name = message.get("FDNAME", "stored")
            if message.get("FDSTORE") == "1":
                here = {(n, identity(fd)) for n, fd in self.stored}
                new = [fd for fd in fds if (name, identity(fd)) not in here]
                self.stored += [(name, fd) for fd in new]
                fds = [fd for fd in fds if fd not in new]
            if message.get("FDSTOREREMOVE") == "1":
                fds += [fd for n, fd in self.stored if n == name]
                self.stored = [(n, fd) for n, fd in self.stored if n != name]
            for fd in fds:
                os.close(fd)
            self.messages.append(message)

    def said(self, key, first=0):
        """All values of KEY since message number FIRST."""
        with self._lock:
            return [m[key] for m in self.messages[first:] if key in m]

    def stored_names(self):
        with self._lock:
            return sorted(name for name, _ in self.stored)
