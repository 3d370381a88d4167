#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 120
"""
A source of post-copy that lies: before its guest runs here the migration fails and says why; afterwards it is paused, what is
missing stays missing, and no page that came is written again.
"""

import contextlib
import socket
import struct

import migd_multifd
import migdtest
from migd_process import wait_until

MEMORY = 16 << 20
BLOCK = b"r0"
PAGE = 4096
FOOTER = b"\x7e" + struct.pack(">I", 1)
EOS = struct.pack(">Q", 0x10)


def command(number, payload=b"", length=None):
    return b"\x08" + struct.pack(">HH", number, len(payload) if length is None else length) + payload


def advise(sizes=PAGE, size=PAGE):
    return command(3, struct.pack(">QQ", sizes, size))


def discard(*ranges, block=BLOCK, version=0):
    return command(6, bytes([version, len(block)]) + block + b"\0" + b"".join(struct.pack(">QQ", *r) for r in ranges))


def page(address, byte, flag=0x08, block=BLOCK):
    return struct.pack(">Q", address | flag) + bytes([len(block)]) + block + (bytes([byte]) * PAGE if flag == 0x08 else bytes([byte]))


def part(*records):
    return b"\x02" + struct.pack(">I", 1) + b"".join(records) + EOS + FOOTER


def package(data):
    return command(7, struct.pack(">I", len(data))) + data


LISTEN, RUN = command(4), command(5)
HEAD = b"QEVM" + struct.pack(">I", 3) + b"\x07" + struct.pack(">I", 4) + b"none" + command(1) + command(2, struct.pack(">I", 1))
START = (b"\x01" + struct.pack(">IB", 1, 3) + b"ram" + struct.pack(">II", 0, 4) + struct.pack(">QB", MEMORY | 4, len(BLOCK))
         + BLOCK + struct.pack(">Q", MEMORY) + EOS + FOOTER)
END = b"\x03" + struct.pack(">I", 1) + EOS + FOOTER + b"\0"
FIRST = part(page(0, 0x11), page(PAGE, 0x22))
SWITCH = discard((PAGE, PAGE), (0x10000, 2 * PAGE)) + package(LISTEN + command(2, struct.pack(">I", 3)) + RUN)


class FakeQemu:
    """A RAM-only source with a return path, and a guest that waits for it."""

    def __init__(self, t, daemon, name="g", capabilities=("postcopy-ram",)):
        self.t, self.dst = t, t.vmm(daemon, name=name, memory="16M", ram_only=BLOCK.decode(), incoming=True)
        self.dst.command("migrate-set-capabilities", {"capabilities": [{"capability": c, "state": True} for c in capabilities]})
        self.main = t.cleanup.enter_context(contextlib.closing(migd_multifd.connect(t.listen(self.dst))))
        self.main.settimeout(30)

    def send(self, *data):
        self.main.sendall(b"".join(data))

    def say(self, *data):
        """That, and nothing more."""
        self.send(*data)
        self.main.shutdown(socket.SHUT_WR)

    def switch(self):
        """Its guest runs at the target."""
        self.send(HEAD, advise(), START, FIRST, SWITCH)
        wait_until(lambda: self.dst.status() == "postcopy-active", "the guest runs", alive=[self.dst])
        return self

    def memory(self, address):
        """The bytes that a page of the target has."""
        with open(self.dst.memory_file, "rb") as f:
            f.seek(address)
            return set(f.read(PAGE))

    def reply(self):
        """(type, body) of the next message on the return path."""
        number, length = struct.unpack(">HH", self.main.recv(4, socket.MSG_WAITALL))
        return number, self.main.recv(length, socket.MSG_WAITALL)

    def check_error(self, status, words, name=""):
        def seen():
            info = self.dst.migration()
            return info if info["status"] in status and "error-desc" in info else None
        info = wait_until(seen, f"{name}: the error shows")
        self.t.check(words in info["error-desc"], f"{name}: {words!r} is not in {info['error-desc']!r}")


# name: (what is sent behind the head, words of the error)
REFUSED = {
    "other page sizes": (advise(PAGE | 1 << 21) + START, "page sizes 0x201000"),
    "another page": (advise(PAGE, 1 << 14) + START, "page sizes"),
    "announced twice": (advise() + advise(), "twice"),
    "only dirty bitmaps": (command(3), "length 0"),
    "announced too late": (START + advise(), "after the block list"),
    "discarded without an announcement": (START + discard((0, PAGE)), "out of turn"),
    "discarded before the block list": (advise() + discard((0, PAGE)), "in the opening"),
    "half a page discarded": (advise() + START + discard((0, PAGE // 2)), "whole pages"),
    "unaligned": (advise() + START + discard((1, PAGE)), "whole pages"),
    "beyond the end": (advise() + START + discard((MEMORY - PAGE, 2 * PAGE)), "inside block 'r0'"),
    "far beyond the end": (advise() + START + discard((0x10000, 0xFFFFFFFFFFFFF000)), "inside block 'r0'"),
    "nothing discarded": (advise() + START + discard((0, 0)), "whole pages"),
    "no range": (advise() + START + discard(), "length 5"),
    "half a range": (advise() + START + command(6, b"\0\x02r0\0" + bytes(8)), "length 13"),
    "unknown block": (advise() + START + discard((0, PAGE), block=b"r1"), "block 'r1'"),
    "unknown version": (advise() + START + discard((0, PAGE), version=1), "version 1"),
    "LISTEN without a package": (advise() + START + LISTEN, "out of place"),
    "RUN without a package": (advise() + START + RUN, "out of place"),
    "RUN before LISTEN": (advise() + START + package(RUN + b"\0"), "out of place"),
    "LISTEN without an announcement": (START + package(LISTEN + RUN), "out of turn"),
    "LISTEN with something": (advise() + START + package(command(4, b"\0") + RUN), "length 1"),
    "LISTEN twice": (advise() + START + package(LISTEN + LISTEN + RUN), "out of turn"),
    "something behind RUN": (advise() + START + package(LISTEN + RUN + b"\0\0"), "behind its POSTCOPY_RUN"),
    "a package in a package": (advise() + START + package(LISTEN + package(LISTEN)), "out of place"),
    "neither RUN nor an end": (advise() + START + package(LISTEN + command(2, struct.pack(">I", 3))), "no end mark"),
    "discarded and never sent": (advise() + START + FIRST + discard((0, PAGE)) + END, "did not come"),
}

# The same for what comes once the guest runs.
INTERRUPTED = {
    "half a page": (part(page(PAGE, 0x33))[:-2000], "closed the connection"),
    "beyond the end": (part(page(MEMORY, 0x33)), "outside block 'r0'"),
    "of another block": (part(page(PAGE, 0x33, block=b"r1")), "unknown block 'r1'"),
    "a difference": (part(struct.pack(">QB", PAGE | 0x40, 2) + BLOCK + b"\1\0\x03abc"), "0x40 is not a kind of record"),
    "a sync point of multifd": (part(struct.pack(">Q", 0x200)), "multifd in post-copy"),
    "a block list": (part(struct.pack(">Q", MEMORY | 4)), "second block list"),
    "a fill byte": (part(page(PAGE, 7, flag=0x02)), "'fill' is not 0"),
    "a section behind the package": (b"\x04" + struct.pack(">IB", 9, 5) + b"timer", "behind the package"),
    "a second package": (package(LISTEN + RUN), "second package"),
    "discarded too late": (discard((0, PAGE)), "out of turn"),
    "announced again": (advise(), "twice"),
    "an end too early": (part(page(PAGE, 0x33)) + END, "2 pages are missing, the first of block 'r0' at 0x10000"),
}


def test_refused_before_the_guest_runs(t):
    daemon = t.daemon("b")
    for n, (name, (data, words)) in enumerate(REFUSED.items()):
        fake = FakeQemu(t, daemon, f"g{n}")
        fake.say(HEAD, data)
        fake.check_error(("setup", "failed"), words, name)
        t.check(fake.dst.migration().get("handover", {}).get("state") != "running", f"{name}: the guest does not run")
        fake.main.close()
        fake.dst.kill()


def test_refused_without_the_capability(t):
    fake = FakeQemu(t, t.daemon("b"), capabilities=())
    fake.say(HEAD, advise(), START)
    fake.check_error(("failed",), "capability postcopy-ram is off here")


def test_interrupted_once_it_runs(t):
    daemon = t.daemon("b")
    for n, (name, (data, words)) in enumerate(INTERRUPTED.items()):
        fake = FakeQemu(t, daemon, f"g{n}").switch()
        fake.say(part(page(0, 0x99)), data)
        fake.check_error(("postcopy-paused",), words, name)
        t.check(fake.dst.run_state() == "running", f"{name}: the guest runs on, as far as it can")
        t.check(fake.memory(0) == {0x11}, f"{name}: a page that the guest has is not written again: {fake.memory(0)}")
        fake.main.close()
        fake.dst.kill()
        fake.check_error(("failed",), "the guest's VMM ended, with", name)


def test_all_pages_come(t):
    fake = FakeQemu(t, t.daemon("b")).switch()
    twice = part(page(0x11000, 0x44), page(0x11000, 0x55), page(PAGE, 0x33), page(PAGE, 0, flag=0x02))
    fake.send(command(2, struct.pack(">I", 4)), twice, part(page(0x10000, 0, flag=0x02)), END)
    replies = [fake.reply() for _ in range(4)]
    t.check(replies == [(2, struct.pack(">I", n)) for n in (1, 3, 4)] + [(1, bytes(4))], f"{replies}")
    t.check([fake.memory(a) for a in (0, PAGE, 0x10000, 0x11000)] == [{0x11}, {0x33}, {0}, {0x44}], "the first of two counts")
    t.check(t.wait_end(fake.dst)["status"] == "completed", f"{fake.dst.migration()}")


def test_no_channel_for_urgent_pages(t):
    """It is awaited while nothing is lost yet."""
    fake = FakeQemu(t, t.daemon("b"), capabilities=("postcopy-ram", "postcopy-preempt"))
    fake.send(HEAD, advise(), START, FIRST, SWITCH)
    fake.check_error(("failed",), "capability postcopy-preempt must be on on both sides")


migdtest.main(kvm=False)
