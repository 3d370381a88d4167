#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""
Between two migds, requests for pages and their answers arrive otherwise than they were sent: what is wrong is refused by name,
and over another connection the guest finds its memory whole.
"""

import contextlib
import socket
import struct

import migdtest
from migd_postcopy import enter_postcopy, finish, prepare, wait_status
from migd_process import wait_until

PAGE = 4096
MEMORY = 64 << 20
URGENT = b"MPMR"
RATE = 8 << 20  # of what nobody asks for: the guest does
REQUESTS = ("reply-req-pages", "reply-req-pages-id")


def request(start, length, block=None):
    """REQ_PAGES_ID with a block's name, REQ_PAGES without."""
    payload = struct.pack(">QI", start, length)
    if block is None:
        return struct.pack(">HH", 4, len(payload)) + payload
    payload += bytes([len(block)]) + block.encode()
    return struct.pack(">HH", 3, len(payload)) + payload


def parse_request(message):
    """(start, length, block or None) of either."""
    start, length = struct.unpack_from(">QI", message, 4)
    return start, length, message[17:].decode() or None


def changed_request(change):
    return lambda message: change(*parse_request(message))


class Tampering:
    """
    A proxy's rewrite(): what `change` makes of messages of these names. `changes`: of the first on each connection, another
    one each time.
    """

    def __init__(self, names, change=None, changes=()):
        self.names, self.change, self.changes = names, change, list(changes)
        self.done = 0

    def __call__(self, direction, name, count, piece):
        if name not in self.names:
            return None
        if self.change:
            self.done += 1
            return self.change(piece)
        if count != 1 or not self.changes:
            return None
        self.done += 1
        return self.changes.pop(0)(piece)


def tampered(t, names, change=None, changes=()):
    """In post-copy, and that was done to a message: (source, destination, link)."""
    src, dst, link, uri = prepare(t, "postcopy-preempt")
    link.refuse_after_cut = False
    link.rewrite = Tampering(names, change, changes)
    t.make_slow(src)
    src.set(max_postcopy_bandwidth=RATE)
    src.command("migrate", {"uri": uri})
    t.wait_active(src)
    src.command("migrate-start-postcopy")
    wait_until(lambda: link.rewrite.done, "there is such a message", alive=[src, dst])
    return src, dst, link


def recover(t, src, dst, link):
    """Who paused because of what the other side said waits for an operator."""
    for vmm in src, dst:
        wait_status(t, vmm, "postcopy-paused")
    before = dst.migration()["socket-address"]
    dst.command("migrate-recover", {"uri": "tcp:127.0.0.1:0"})
    address = wait_until(lambda: (lambda a: a if a != before else None)(dst.migration().get("socket-address")),
                         "the destination says its new address")[0]
    link.target = ("127.0.0.1", int(address["port"]))
    src.command("migrate", {"uri": link.uri, "resume": True})


def ends_well(t, names, change):
    """With all of them changed."""
    src, dst, _ = tampered(t, names, change)
    finish(t, src, dst)


def wait_said(side, words):
    wait_until(lambda: words in side.daemon.log_text(), f"{side.label}'s daemon says {words!r}", alive=[side.daemon])


# What is done to a request, and what the source says of it.
WRONG_REQUESTS = {
    "of no block": (lambda start, length, block: request(start, length, "nothing"), "RAM block that does not exist"),
    "behind the end": (lambda start, length, block: request(MEMORY, length, block), "bytes at 0x4000000"),
    "beyond the end": (lambda start, length, block: request(MEMORY - PAGE, 2 * PAGE, block), "8192 bytes at 0x3fff000"),
    "that wraps": (lambda start, length, block: request((1 << 64) - PAGE, 2 * PAGE, block), "8192 bytes at 0xffff"),
    "between pages": (lambda start, length, block: request(start + 100, length, block), "of RAM block 'ram', which has"),
    "of nothing": (lambda start, length, block: request(start, 0, block), "a request for 0 bytes"),
    "cut short": (lambda start, length, block: struct.pack(">HHQ", 4, 8, start), "a request for pages of 8 bytes"),
}


def test_requests_that_are_wrong(t):
    """One after the other; the source connects again by itself each time."""
    changes = [changed_request(change) for change, _ in WRONG_REQUESTS.values()]
    src, dst, link = tampered(t, ("reply-req-pages-id",), changes=changes)
    for name, (_, words) in WRONG_REQUESTS.items():
        print(f"  {name}", flush=True)
        wait_said(src, words)
    wait_until(lambda: not link.rewrite.changes, "each was tried", alive=[src, dst])
    t.assert_stopped(src)
    finish(t, src, dst)


def test_requests_for_other_pages(t):
    """Each is answered by another page: who waits gets its own when its turn comes."""
    ends_well(t, REQUESTS, changed_request(lambda start, length, block: request(start ^ 1 << 20, length, block)))


def test_requests_that_are_never_answered(t):
    ends_well(t, REQUESTS, lambda message: b"")


def test_requests_that_come_twice(t):
    ends_well(t, REQUESTS, lambda message: 2 * message)


def test_target_that_says_too_early_that_it_has_all(t):
    """The source keeps what it has not sent yet."""
    shut = struct.pack(">HHI", 1, 4, 0)
    src, dst, link = tampered(t, REQUESTS, changes=[lambda message: shut + message])
    recover(t, src, dst, link)
    finish(t, src, dst)


def record(piece, address=None, flags=None, block=None):
    """A record of a RAM section with something else in it."""
    word, = struct.unpack_from(">Q", piece)
    had, rest = word & (PAGE - 1), piece[8:]
    if block is not None:
        name = b"" if had & 0x20 else rest[:1 + rest[0]]
        rest = bytes([len(block)]) + block.encode() + rest[len(name):]
        had &= ~0x20
    word = (word & ~(PAGE - 1) if address is None else address) | (had if flags is None else flags)
    return struct.pack(">Q", word) + rest


# What is done to a page that was asked for, and what the target says of it.
WRONG_PAGES = {
    "of no block": (lambda p: record(p, block="nothing"), "unknown block 'nothing'"),
    "behind the end": (lambda p: record(p, address=MEMORY), "at 0x4000000 are outside block 'ram'"),
    "far behind the end": (lambda p: record(p, address=(1 << 64) - PAGE), "are outside block 'ram'"),
    "of no known kind": (lambda p: record(p, flags=0x104), "is not a kind of record"),
    "garbage": (lambda p: bytes(range(256)) * 16, "urgent channel: "),
}


def test_answers_that_are_wrong(t):
    """One after the other; none of them is shown to the guest."""
    src, dst, link = tampered(t, ("urgent-page",), changes=[change for change, _ in WRONG_PAGES.values()])
    for n, (name, (_, words)) in enumerate(WRONG_PAGES.items()):
        print(f"  {name}", flush=True)
        wait_until(lambda n=n: link.rewrite.done > n, "there is a page to be changed", alive=[src, dst])
        wait_status(t, dst, "postcopy-paused")
        text = dst.migration()["error-desc"]
        t.check(words in text, f"{text!r} does not say {words!r}")
        recover(t, src, dst, link)
    t.assert_stopped(src)
    finish(t, src, dst)


def test_answers_that_come_twice(t):
    """A page that the guest may have changed since is never written again."""
    ends_well(t, ("urgent-page",), lambda p: p + p)


def test_connections_cut_at_any_byte(t):
    """Pages that came in part are sent again."""
    numbers = migdtest.seed()
    src, dst, link, uri = prepare(t, "postcopy-preempt")
    link.refuse_after_cut = False
    enter_postcopy(t, src, dst, uri, rate=RATE >> 5)
    for _ in range(6):
        before = len(link.clients)
        link.was_cut.clear()
        link.cut_at = ("out", link.passed["out"] + numbers.randrange(1, 50000))
        wait_until(link.was_cut.is_set, "it is cut", alive=[src, dst])
        link.cut_at = None
        wait_until(lambda before=before: len(link.clients) >= before + 2, "both connections come again")
        wait_status(t, src, "postcopy-active")
    finish(t, src, dst)


def test_strangers_with_urgent_pages(t):
    """Refused and named, before the source's own came and afterwards."""
    src, dst, link, uri = prepare(t, "postcopy-preempt")
    port = link.target[1]

    def strangers():
        for data in URGENT + b"\x05" * 16, URGENT + b"\x06" * 16 + bytes(64), URGENT + b"\x07" * 8:
            s = t.cleanup.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", port))))
            s.sendall(data)

    strangers()
    enter_postcopy(t, src, dst, uri)
    t.check("an urgent channel of another migration" in dst.daemon.log_text(), "they are named")
    with contextlib.suppress(ConnectionError):
        strangers()
    finish(t, src, dst)


migdtest.main()
