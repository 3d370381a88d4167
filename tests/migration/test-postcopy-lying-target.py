#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""
A target of post-copy that asks for what it must not: before RELEASE the migration fails, and the guest goes on where it was;
afterwards the connection is broken off, and all arrives over the next one.
"""

import os
import struct

import migdtest
from migd_process import wait_until

PAGE = 4096
MEMORY = 32 << 20


def message(number, body):
    return struct.pack(">HH", number, len(body)) + body


def request(start, length, block=None):
    body = struct.pack(">QI", start, length)
    return message(3, body + bytes([len(block)]) + block) if block else message(4, body)


LIES = {
    "behind the end": request(MEMORY, PAGE, b"ram"),
    "across the end": request(MEMORY - PAGE, 2 * PAGE, b"ram"),
    "more than there are numbers": request((1 << 64) - PAGE, 2 * PAGE, b"ram"),
    "nothing": request(0, 0, b"ram"),
    "half a page": request(PAGE // 2, PAGE, b"ram"),
    "another block": request(0, PAGE, b"rom"),
    "no name": message(3, struct.pack(">QIB", 0, PAGE, 0)),
    "too short": message(4, b"\0" * 11),
    "too long": message(4, b"\0" * 13),
    "unknown": message(0x99, b""),
}


def sides(t, lies, stopped=False, **parameters):
    """A migration into post-copy; lies: (name of a message of the target's, what comes to the source before and behind it),
    each once, one after the other."""
    if not os.path.exists("/dev/userfaultfd"):
        raise migdtest.Skip("/dev/userfaultfd is missing")
    src, dst = t.pair(memory="32M", working_set="8M")
    for side in src, dst:
        side.set_capabilities(postcopy_ram=True)
    if stopped:
        t.assert_memory_verified(src)
        src.command("stop")
    src.set(max_bandwidth=8 << 20, **parameters)
    link = t.proxy(int(t.listen(dst).rpartition(":")[2]))

    def lie(direction, name, _count, piece):
        if direction != "back" or not lies or name != lies[0][0]:
            return None
        _name, before, behind = lies.pop(0)
        return before + piece + behind
    link.rewrite = lie
    src.command("migrate", {"uri": link.uri})
    src.command("migrate-start-postcopy")
    return src, dst


def test_before_there_is_anything_to_ask_for(t):
    src, _dst = sides(t, [("reply-config-ok", request(0, PAGE, b"ram"), b"")])
    t.assert_failed(src, "out of place")
    t.assert_untouched(src)


def test_while_it_loads(t):
    src, _dst = sides(t, [("reply-loaded", LIES["across the end"], b"")])
    t.assert_failed(src, "return path", "ram")
    t.assert_untouched(src)


def arrives(t, src, dst):
    for side in src, dst:
        info = t.wait_end(side)
        t.check(info["status"] == "completed", f"{info}")
    if dst.run_state() == "paused":
        dst.command("cont")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    return src.migration()


def test_once_the_guest_is_there(t):
    """Each costs a connection, and nothing else."""
    lies = [("reply-active", b"", LIES["unknown"])] + [("reply-resume-ack", b"", lie) for lie in LIES.values()]
    src, dst = sides(t, lies, stopped=True, max_postcopy_bandwidth=256 << 10)
    wait_until(lambda: not lies, "all lies were told", timeout=60, alive=[src.daemon, dst.daemon])
    src.set(max_postcopy_bandwidth=0)
    info = arrives(t, src, dst)
    t.check(info["postcopy"]["recoveries"] == len(LIES) + 1, f"{info}")


def test_the_same_again_and_again(t):
    """Far more than there is room for: each is answered once."""
    n = 5000
    src, dst = sides(t, [("reply-active", b"", request(16 << 20, PAGE, b"ram") + request(4 << 20, PAGE) * n)])
    info = arrives(t, src, dst)
    t.check(info["ram"]["postcopy-requests"] > n and info["postcopy"]["recoveries"] == 0, f"{info}")
    pages = sum(info["postcopy"][k] for k in ("requested", "prefetched", "background"))
    t.check(pages <= MEMORY // PAGE, f"no page was sent twice: {info}")


def test_all_at_once(t):
    src, dst = sides(t, [("reply-active", b"", request(0, MEMORY, b"ram"))])
    info = arrives(t, src, dst)
    t.check(info["postcopy"]["recoveries"] == 0, f"{info}")


migdtest.main()
