#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 400
"""Strangers connect to a destination without end, with garbage, with half a handshake, with nothing: the real migration arrives in
the meantime, memory and descriptors keep within bounds, and afterwards all is as it was. The same while clients flood QMP."""

import collections
import contextlib
import os
import socket
import threading
import time

import migd_reports
import migd_shared
import migd_tls
import migdtest
from migd_process import SLOW, wait_until

OPTIONS = {"memory": "48M", "working_set": "2M"}
AT_ONCE = 400	# connections that a flood holds
GROWTH_MAX = 48 << 20  # of a daemon's and a worker's memory
QMP_MEMORY_MAX = 512 << 20  # docs/control-plane.md: all sessions' together
FDS_MAX = 1536
TOLD_A_SECOND = 32
TALKERS = 24
# Between two connections of a stranger's, in seconds. valgrind makes the destination slow, and not them: even the kernel's queue of
# connections would always be full.
PAUSE = 0.05 if migd_reports.VALGRIND else 0.0005
PLACES = 512  # of connections that a destination looks at

STREAM = b"QEVM\0\0\0\3\7\0\0\0\4none"  # header and configuration; something would follow
CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303")  # the first bytes of a handshake that never goes on
ELSEWHERE = migd_shared.preamble("other")  # of a guest that is not here
GARBAGE = {"nothing": b"", "noise": os.urandom(4096), "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "half a handshake": CLIENT_HELLO,
           "a stream's header": b"QEVM\0\0\0\3", "a hello of noise": CLIENT_HELLO + os.urandom(500)}


class Strangers:
    """So many threads that run _run() until _over is set, and count their connections."""

    def __init__(self, port, n_threads):
        self.port, self.made, self._over = port, 0, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(n_threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()


class Flood(Strangers):
    """Connects to a TCP port and says something, again and again, holding AT_ONCE connections open."""

    def __init__(self, port, words, address=None):
        super().__init__(port, 2)
        self.words, self.address = list(words), address

    def _connect(self):
        if self.address:
            peer = socket.socket(socket.AF_UNIX)
            peer.settimeout(1)
            peer.connect(self.address)
            return peer
        return socket.create_connection(("127.0.0.1", self.port), timeout=1)

    def _run(self):
        held = collections.deque()
        while not self._over.is_set():
            try:
                peer = self._connect()
                held.append(peer)
                peer.send(self.words[self.made % len(self.words)])
            except OSError:
                time.sleep(0.001)
            self.made += 1
            if len(held) > AT_ONCE // len(self._threads):
                held.popleft().close()
            time.sleep(PAUSE)
        for peer in held:
            peer.close()


class Talkers(Strangers):
    """Say a word, and then anything without end; whoever is sent away comes again."""

    def __init__(self, port, word):
        super().__init__(port, TALKERS)
        self.word = word

    def _run(self):
        while not self._over.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as peer:
                self.made += 1
                peer.sendall(self.word)
                while not self._over.is_set():
                    peer.sendall(bytes(1 << 18))


def resident(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Watch:
    """The most that a daemon's and its workers' descriptors and memory were."""

    def __init__(self, t, daemon):
        self.t, self.daemon = t, daemon
        self.before = resident(daemon.pid), sorted(daemon.fds())
        self.fds, self.memory = 0, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        t.cleanup.callback(self._over.set)

    def _run(self):
        while not self._over.wait(0.05):
            with contextlib.suppress(OSError):
                for pid in [self.daemon.pid, *self.daemon.workers(), *self.daemon.greeters()]:
                    self.fds = max(self.fds, len(os.listdir(f"/proc/{pid}/fd")))
                self.memory = max(self.memory, resident(self.daemon.pid))

    def end(self, made, memory_max=GROWTH_MAX):
        self._over.set()
        self._thread.join()
        memory, before = self.before
        print(f"{made} connections; at most {self.fds} descriptors, {(self.memory - memory) >> 10} KiB more")
        self.t.check(self.fds < FDS_MAX, f"{self.fds} descriptors")
        # AddressSanitizer, and valgrind, keep what was freed for a while.
        self.t.check(self.memory - memory < memory_max or migd_reports.INSTRUMENTED, f"{self.memory - memory} bytes more")
        wait_until(lambda: len(self.daemon.fds()) <= len(before),
                   f"descriptors as before: {before}, {sorted(self.daemon.fds())}", timeout=60)


def is_closed(peer):
    """Within its time-out."""
    try:
        return peer.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def port_of(uri):
    return int(uri.split(",")[0].rpartition(":")[2])


def flooded(t, uri=None, words=GARBAGE.values(), tls=False, **capabilities):
    """A migration that begins when its destination is flooded already."""
    src, dst = t.pair(**OPTIONS)
    if tls:
        migd_tls.x509(t, src, dst, ["IP:127.0.0.1"])
    for vmm in src, dst:
        vmm.set_capabilities(**capabilities)
    found = t.listen(dst)
    watch = Watch(t, dst.daemon)
    began = time.monotonic()
    with Flood(port_of(found), words) as flood:
        wait_until(lambda: flood.made > 200, "the flood has begun")
        src.command("migrate", {"uri": found})
        info = t.wait_end(src, timeout=120)
        made = flood.made
    t.check(info["status"] == "completed", f"through the flood, not {info}")
    t.check(t.wait_end(dst)["status"] == "completed", "at the destination as well")
    t.assert_only_runs(dst, src)
    watch.end(made)
    told = dst.daemon.log_text().count("a connection was refused")
    t.check(told <= TOLD_A_SECOND * (time.monotonic() - began + 1), f"{told} refusals were told")


def test_plain(t):
    flooded(t)


def test_streams_that_only_begin(t):
    """A hundred strangers are there before the source, each with the beginning of a stream, and stay."""
    src, dst = t.pair(**OPTIONS)
    found = t.listen(dst)
    with contextlib.ExitStack() as strangers:
        for n in range(100):
            peer = strangers.enter_context(socket.create_connection(("127.0.0.1", port_of(found))))
            peer.sendall(STREAM[:n % len(STREAM)])
        src.command("migrate", {"uri": found})
        info = t.wait_end(src)
        t.check(info["status"] == "completed", f"past all of them, not {info}")
    t.assert_only_runs(dst, src)


def test_strangers_elsewhere(t):
    """They take one another's places, and nobody else's, however slow that is."""
    _, dst = t.pair(**OPTIONS)
    port = port_of(t.listen(dst))
    with contextlib.ExitStack() as peers:
        slow = peers.enter_context(socket.create_connection(("127.0.0.1", port)))
        strangers = [peers.enter_context(socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0)))
                     for _ in range(PLACES + 50)]
        for stranger in strangers[:50]:
            stranger.settimeout(30 * SLOW)
            t.check(is_closed(stranger), "the first of the strangers are sent away")
        slow.settimeout(0.2)
        t.check(not is_closed(slow), "who came before all of them waits on")


def test_refused_and_never_silent(t):
    """Strangers who are told that they are wrong, and go on sending as fast as they can."""
    src, dst = t.pair(**OPTIONS)
    found = t.listen(dst)
    with Talkers(port_of(found), ELSEWHERE) as talkers:
        wait_until(lambda: talkers.made > 2 * TALKERS, "each was refused and came again")
        src.command("migrate", {"uri": found})
        t.check(t.wait_end(src)["status"] == "completed", f"past all of them, not {src.migration()}")
    t.assert_only_runs(dst, src)


def test_silent(t):
    flooded(t, words=[b""])


def test_parallel_channels(t):
    """Strangers come between the channels of one migration."""
    flooded(t, multifd=True)


def test_tls(t):
    flooded(t, tls=True)


def test_tls_with_parallel_channels(t):
    flooded(t, tls=True, words=[CLIENT_HELLO, GARBAGE["a hello of noise"]], multifd=True)


def test_qmp(t):
    """Clients without end, some with garbage, some that say nothing, some that never read what they asked for."""
    src, dst = t.pair(**OPTIONS)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    hello = b'{"execute": "qmp_capabilities"}'
    words = [b"", b"\xff" * 65536, b"[" * 60000, b'{"a": "' + b"x" * 60000, hello + b'{"execute": "query-qmp-schema"}' * 50, hello]
    watch = Watch(t, src.daemon)
    with Flood(0, words, address=src.daemon.qmp_path) as flood:
        wait_until(lambda: flood.made > 300, "the flood has begun")
        t.speed_up(src)
        info = t.wait_end(src)
        made = flood.made
    t.check(info["status"] == "completed", f"through the flood, not {info}")
    t.assert_only_runs(dst, src)
    watch.end(made, memory_max=QMP_MEMORY_MAX)


migdtest.main()
