#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""Hostile, broken and mistaken channels: refused by name, and nothing else comes to harm."""

import contextlib
import socket
import struct
import threading

import migd_multifd as mf
import migdtest
from migd_process import wait_until

MEMORY = 16 << 20
BLOCK = "r0"
HEAD = b"QEVM" + struct.pack(">I", 3) + b"\x07" + struct.pack(">I", 4) + b"none"
EOS = struct.pack(">Q", 0x10)
FLUSH = struct.pack(">Q", 0x200)
FOOTER = b"\x7e" + struct.pack(">I", 1)
START = (b"\x01" + struct.pack(">IB", 1, 3) + b"ram" + struct.pack(">II", 0, 4) + struct.pack(">Q", MEMORY | 4)
         + bytes([len(BLOCK)]) + BLOCK.encode() + struct.pack(">Q", MEMORY) + FLUSH + EOS + FOOTER)
END = b"\x03" + struct.pack(">I", 1) + FLUSH + EOS + FOOTER + b"\0"


class FakeSource:
    """A source that is no migd, and has no return path: what comes on each connection is the test's."""

    def __init__(self, t, channels=2, **set_up):
        self.t = t
        self.dst = t.vmm(t.daemon("b"), memory="16M", ram_only=BLOCK, incoming=True)
        mf.on(self.dst, channels=channels, **set_up)
        self.uri = t.listen(self.dst)
        self.main = self.connect()
        self.channels = []

    def connect(self, data=b""):
        s = self.t.cleanup.enter_context(contextlib.closing(mf.connect(self.uri)))
        s.sendall(data)
        return s

    def open(self):
        """All connections, up to the block list."""
        self.channels = [self.connect(mf.hello(i)) for i in range(2)]
        for c in self.channels:
            c.sendall(mf.sync())
        self.main.sendall(HEAD + START)
        return self

    def finish(self):
        for c in self.channels:
            c.sendall(mf.sync())
        self.main.sendall(END)
        wait_until(lambda: self.dst.status() == "completed", f"the guest arrives: {self.dst.migration()}")

    def assert_failed(self, *words):
        self.t.assert_failed(self.dst, *words)
        self.t.check(self.dst.migration()["handover"]["state"] == "discarded", "the guest will never run here")

    def assert_said(self, word):
        wait_until(lambda: word in self.dst.daemon.log_text(), f"the log says {word!r}")


def test_what_is_right_arrives(t):
    s = FakeSource(t).open()
    page = bytes(range(256)) * 16
    s.channels[0].sendall(mf.packet(normal=[0, 0x3000], zero=[0x1000], payload=page + page[::-1]))
    s.channels[1].sendall(mf.packet(normal=[MEMORY - 4096], payload=page))
    s.finish()
    with open(s.dst.memory_file, "rb") as f:
        data = f.read()
    t.check(data == page + bytes(8192) + page[::-1] + bytes(MEMORY - 0x5000) + page, "each page is in its place")


def test_strangers_among_the_channels(t):
    """Refused, and named; the migration goes on with its own."""
    s = FakeSource(t)
    words = []
    for stranger, word in ((mf.hello(0, uuid=b"\x01" * 16), "field 'uuid'"), (mf.hello(2), "channel 2: field 'id'"),
                           (mf.hello(255), "channel 255: field 'id'"), (mf.hello(1, handover=b"\x02" * 16), "of another migration"),
                           (mf.hello(0, version=2), "field 'version'")):
        s.connect(stranger)
        words.append(word)
    s.main.sendall(HEAD + START)
    for word in words:
        s.assert_said(word)
    wait_until(lambda: "refused" in s.dst.migration().get("error-desc", ""), "query-migrate shows that, too")
    first = s.connect(mf.hello(0) + mf.sync())
    s.connect(mf.hello(0))
    s.assert_said("channel 0 is there already")
    s.channels = [first, s.connect(mf.hello(1) + mf.sync())]
    s.finish()
    t.check("error-desc" not in s.dst.migration(), "nothing is held against it")


def test_one_too_many(t):
    s = FakeSource(t)
    s.channels = [s.connect(mf.hello(i) + mf.sync()) for i in range(2)]
    s.connect(mf.hello(1))
    s.main.sendall(HEAD + START)
    s.assert_said("is there already")
    s.finish()


def test_strangers_beside_a_migd(t):
    """Channels that came before the migration: of another one, of a QEMU, half a hello. It goes through."""
    src, dst = t.pair(working_set="4M")
    mf.on(src, dst)
    uri = t.listen(dst)
    held = [mf.connect(uri) for _ in range(4)]
    for s, data in zip(held, (mf.hello(0), mf.hello(1, handover=b"\x07" * 16, channels=2), mf.hello(0)[:30],
                              struct.pack(">I", mf.MAGIC + 1) + bytes(60))):
        s.sendall(data)
    src.command("migrate", {"uri": uri})
    t.check(t.wait_end(src)["status"] == "completed", f"the real one gets through: {src.migration()}")
    t.check(dst.daemon.log_text().count("of another migration") == 2, "both are named")
    t.assert_memory_verified(dst)


def test_channel_where_there_are_none(t):
    src, dst = t.pair(working_set="4M")
    uri = t.listen(dst)
    held = mf.connect(uri)
    held.sendall(mf.hello(0))
    src.command("migrate", {"uri": uri})
    t.check(t.wait_end(src)["status"] == "completed", f"the real one gets through: {src.migration()}")
    t.check("capability multifd is off here" in dst.daemon.log_text(), "it is named")


# What is wrong with a packet, and a word of the error.
PACKETS = {
    "magic": (mf.packet(normal=[0], magic=0x51455649), "field 'magic'"),
    "version": (mf.packet(normal=[0], version=7), "field 'version'"),
    "device state": (mf.packet(flags=0x40), "field 'flags'"),
    "compressed": (mf.packet(normal=[0], flags=2), "multifd-compression"),
    "too many pages": (mf.packet(normal=[0], alloc=129), "field 'pages_alloc'"),
    "more than allocated": (mf.packet(normal=[0], n_normal=0xFFFFFFFF), "field 'normal_pages'"),
    "zeros that wrap": (mf.packet(normal=[0], n_zero=0xFFFFFFFF), "field 'zero_pages'"),
    "another length": (mf.packet(normal=[0, 4096], size=4096), "field 'next_packet_size'"),
    "another block": (mf.packet(block="rom", normal=[0]), "unknown block 'rom'"),
    "between pages": (mf.packet(normal=[100]), r"field 'offset\[0\]'"),
    "behind the end": (mf.packet(normal=[0, MEMORY]), r"field 'offset\[1\]'"),
    "a zero page behind the end": (mf.packet(zero=[1 << 63]), r"field 'offset\[0\]'"),
}


def test_packets_that_are_wrong(t):
    for name, (data, word) in PACKETS.items():
        with contextlib.closing(migdtest.Test(name)) as each:
            s = FakeSource(each).open()
            s.channels[1].sendall(mf.packet(normal=[0]) + data)
            s.assert_failed("multifd channel 1", "stream offset", word)


def test_channel_closed_in_a_packet(t):
    s = FakeSource(t).open()
    s.channels[0].sendall(mf.packet(normal=[0, 4096])[:3000])
    s.channels[0].close()
    s.assert_failed("multifd channel 0", "closed")


def test_channel_closed_behind_pages(t):
    s = FakeSource(t).open()
    s.channels[0].sendall(mf.packet(normal=[0, 4096]))
    s.channels[0].close()
    s.assert_failed("multifd channel 0", "closed")


def test_channel_closed_behind_a_sync(t):
    """That may be its end, until the stream says that there is more."""
    s = FakeSource(t).open()
    s.channels[1].close()
    s.channels[0].sendall(mf.packet(normal=[0]) + mf.sync())
    s.main.sendall(END)
    s.assert_failed("multifd channel 1", "closed it before the end")


def test_main_closed(t):
    s = FakeSource(t).open()
    s.channels[0].sendall(mf.packet(normal=[0]))
    s.main.close()
    s.assert_failed("closed the connection")


def test_sync_that_the_stream_does_not_know(t):
    s = FakeSource(t).open()
    for c in s.channels:
        c.sendall(mf.sync() + mf.sync())
    wait_until(lambda: s.dst.migration()["status"] == "active", "it loads")
    s.main.sendall(END)
    # The second SYNC of each comes before the end, or behind it: refused, or of no importance.
    wait_until(lambda: s.dst.status() in ("failed", "completed"), "it ends")
    if s.dst.status() == "failed":
        s.assert_failed("a SYNC that the main stream does not know of")


def test_channels_that_never_come(t):
    s = FakeSource(t)
    s.connect(mf.hello(1))
    s.main.sendall(HEAD + START)
    t.assert_failed(s.dst, "1 of 2 multifd channels", "must be the same")


def test_stalled_channel(t):
    """Cancelled at once, however long it would be waited for."""
    s = FakeSource(t).open()
    s.channels[0].sendall(mf.packet(normal=[0, 4096])[:3000])
    s.channels[1].sendall(mf.sync())
    s.main.sendall(END[:-1])
    wait_until(lambda: s.dst.status() == "active", "it loads")
    s.dst.kill()
    wait_until(lambda: s.dst.status() == "failed", "it ends with its VMM", timeout=2)
    wait_until(lambda: not s.dst.daemon.workers(), "nothing is left of it", timeout=3)


class Relay:
    """Between two migds; connection number `victim` is cut, or no more served, after so many bytes."""

    def __init__(self, t, uri, victim, after, stall=False):
        self.victim, self.after, self.stall = victim, after, stall
        self.target = uri
        self.listener = t.cleanup.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", 0), backlog=64)))
        self.uri = f"tcp:127.0.0.1:{self.listener.getsockname()[1]}"
        self.pairs = []
        self.struck = threading.Event()
        t.cleanup.callback(self.close)
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        for s in self.pairs:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def accept(self):
        number = 0
        with contextlib.suppress(OSError):
            while True:
                a = self.listener.accept()[0]
                b = mf.connect(self.target)
                self.pairs += [a, b]
                threading.Thread(target=self.pump, args=(a, b, number == self.victim), daemon=True).start()
                threading.Thread(target=self.pump, args=(b, a, False), daemon=True).start()
                number += 1

    def pump(self, a, b, victim):
        passed = 0
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data)
                passed += len(data)
                if victim and passed > self.after:
                    self.struck.set()
                    if self.stall:
                        return
                    break
            for s in a, b:
                s.shutdown(socket.SHUT_RDWR)


def struck(t, stall):
    src, dst = t.pair(memory="128M", working_set="16M")
    mf.on(src, dst)
    t.assert_memory_verified(src, rounds=src.mem.detail(1))
    src.set(max_bandwidth=8 << 20, downtime_limit=1)
    relay = Relay(t, t.listen(dst), victim=2, after=1 << 20, stall=stall)
    src.command("migrate", {"uri": relay.uri})
    wait_until(relay.struck.is_set, "a channel is struck", alive=[t.a, t.b])
    return src, dst


def test_channel_cut_in_mid_pass(t):
    src, dst = struck(t, stall=False)
    t.assert_failed(src, "multifd channel 1")
    t.assert_failed(dst, "multifd channel 1")
    t.assert_untouched(src)


def test_channel_stalled_in_mid_pass(t):
    src, dst = struck(t, stall=True)
    src.command("migrate_cancel")
    wait_until(lambda: src.status() == "cancelled", "it is cancelled", timeout=0.5)
    t.assert_untouched(src)
    wait_until(lambda: dst.status() == "failed", "the destination fails")
    wait_until(lambda: not t.a.workers() and not t.b.workers(), "the workers are gone")


migdtest.main()
