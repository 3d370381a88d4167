#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""A stream that goes wrong after a good beginning ends that migration with a text that says where; the guest runs on."""

import re
import struct

import migd_proxy
import migdtest
from migd_process import wait_until

OPTIONS = {"memory": "32M", "working_set": "1M"}
MAX64 = 0xFFFFFFFFFFFFFFFF


def put(data, offset, fmt, value):
    """data with a value packed over what was at offset (from the end if negative)."""
    new = struct.pack(fmt, value)
    offset = offset if offset >= 0 else len(data) + offset
    return data[:offset] + new + data[offset + len(new):]


def record(data, change):
    """The first record of a PART with another record word."""
    return put(data, 5, ">Q", change(struct.unpack_from(">Q", data, 5)[0]))


# name: (direction, message, how many-th, what becomes of it, words of the error)
MUTATIONS = {
    "RAM list too large": ("out", "ram-record", 1, lambda d: put(d, -8, ">Q", MAX64), "ram|block|length"),
    # The third record is the first of a PART: behind type and section id.
    "unknown section id": ("out", "ram-record", 3, lambda d: put(d, 1, ">I", 0x77), "section id"),
    "record without a kind": ("out", "ram-record", 3, lambda d: record(d, lambda w: w & ~0xFFF), "flag|record"),
    "record of every kind": ("out", "ram-record", 3, lambda d: record(d, lambda w: w | 0xFFF), "flag|record"),
    "page beyond the block": ("out", "ram-record", 3, lambda d: record(d, lambda w: w & 0xFFF | 0x7FFFFFFFF000),
                              "address|beyond|block|range|outside"),
    "unknown footer": ("out", "start-ram", 1, lambda d: put(d, -4, ">I", 0x55), "footer"),
    "footer missing": ("out", "start-ram", 1, lambda d: d[:-5] + b"\x00" * 5, "footer"),
    "package too large": ("out", "cmd-packaged", 1, lambda d: put(d, 5, ">I", 0xFFFFFFFF), "package"),
    "package of nothing": ("out", "cmd-packaged", 1, lambda d: put(d, 5, ">I", 0), "package"),
    "package cut short": ("out", "cmd-packaged", 1, lambda d: put(d, 5, ">I", len(d) - 9 - 40), "section|footer|offset"),
    "package of zeros": ("out", "cmd-packaged", 1, lambda d: d[:9] + bytes(len(d) - 9), "section"),
    "device state of ones": ("out", "cmd-packaged", 1, lambda d: d[:-2000] + b"\xff" * 2000, "package|section"),
    "no package": ("out", "cmd-packaged", 1, lambda d: b"\x00" + d, "device state|offset"),
    "unknown section type": ("out", "cmd-switchover-start", 1, lambda d: b"\x55" + d, "section type"),
    "unknown command": ("out", "cmd-switchover-start", 1, lambda d: put(d, 1, ">H", 0x1234), "command"),
    "description of nothing": ("out", "cmd-config", 1, lambda d: put(d, 3, ">H", 0), "description"),
    "description of ones": ("out", "cmd-config", 1, lambda d: d[:5] + b"\xff" * (len(d) - 5), "description"),
    "unknown reply": ("back", "reply-config-ok", 1, lambda d: put(d, 0, ">H", 0x1234), "return path|reply|message"),
    "endless reply": ("back", "reply-config-ok", 1, lambda d: put(d, 2, ">H", 0xFFFF), "return path|reply|length|bytes"),
    "LOADED of another": ("back", "reply-loaded", 1, lambda d: d[:4] + b"\xee" * 16 + d[20:], "handover|id"),
    "ACTIVE too early": ("back", "reply-config-ok", 1, lambda d: put(d, 0, ">H", 0x4D05), "out of place"),
}


def attempt(t, src, dst, mutation):
    direction, message, nth, change, _ = mutation
    done = []

    def rewrite(d, name, count, data):
        if done or (d, name, count) != (direction, message, nth):
            return None
        done.append(name)
        return change(data)

    port = int(t.listen(dst).rpartition(":")[2])
    with migd_proxy.Proxy(port, rewrite=rewrite) as link:
        src.command("migrate", {"uri": link.uri})
        info = t.wait_end(src)
    return info, done


def test_mutated_stream(t):
    a, b = t.daemon("a"), t.daemon("b")
    src = t.vmm(a, **OPTIONS)
    other = t.vmm(b, name="other", payload="idle")
    t.assert_runs(src)
    wrong = []
    for name, mutation in MUTATIONS.items():
        dst = t.incoming(b, OPTIONS)
        info, done = attempt(t, src, dst, mutation)
        target = wait_until(lambda: (lambda m: m if m.get("status") in migdtest.ENDED else None)(dst.migration()),
                            f"{name}: the destination's migration ends")
        print(f"{name}: {info['status']}: {info.get('error-desc')} | {target.get('error-desc')}", flush=True)
        t.check(done, f"{name}: no such message was seen")
        t.check(info["status"] == "failed", f"{name}: failed, not {info}")
        texts = f"{info.get('error-desc')} {target.get('error-desc')}".lower()
        if not re.search(mutation[4], texts):
            wrong.append(f"{name}: nobody mentions {mutation[4]}: {texts}")
        t.assert_only_runs(src, dst)
        dst.kill()
    t.check(not wrong, "\n".join(wrong))
    t.assert_runs(other)


def test_commit_of_another(t):
    """The target refuses a COMMIT with another id; the source asks, and takes its guest back."""
    src, dst = t.pair(**OPTIONS)
    info, done = attempt(t, src, dst, ("out", "cmd-commit", 1, lambda d: d[:5] + b"\xee" * 16, ""))
    t.check(done and info["status"] == "failed", f"it failed: {info}")
    t.assert_only_runs(src, dst)


def test_active_of_another(t):
    """The source does not believe an ACTIVE with another id; it asks, and learns the truth."""
    src, dst = t.pair(**OPTIONS)
    info, done = attempt(t, src, dst, ("back", "reply-active", 1, lambda d: d[:4] + b"\xee" * 16 + d[20:], ""))
    t.check(done and info["status"] == "completed", f"it completed: {info}")
    t.assert_only_runs(dst, src)


migdtest.main()
