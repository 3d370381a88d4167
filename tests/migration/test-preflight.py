#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""What keeps a guest from moving is told all at once: by a migration, and by one that only compares."""

import contextlib
import os
import signal
import socket
import struct
import threading

import migdtest


def preflight(t, src, uri):
    """`migrate` with preflight only; returns what query-migrate says about it."""
    src.daemon.qmp.skip_events()
    src.command("migrate", {"uri": uri, "preflight": "only"})
    event = src.daemon.qmp.wait_event("MIGRATION_PREFLIGHT", timeout=20)
    info = migdtest.wait_until(lambda: (lambda m: m if m.get("status", "none") in ("none", "failed") else None)(
        src.migration()), "the preflight is over")
    t.check("status" not in info and "handover" not in info, f"nothing was migrated: {info}")
    shown = {k: v for k, v in event["data"].items() if k != "guest"}
    t.check(shown == info["preflight"], f"the event says {shown}, query-migrate {info['preflight']}")
    t.check((info["preflight"]["result"] == "fail") == bool(info["preflight"]["mismatches"]), f"{info}")
    return info["preflight"]


def subjects(result):
    return {m["subject"]: m for m in result["mismatches"]}


def waits(t, dst):
    """The destination is as before: it waits for a guest."""
    t.check(dst.status() == "setup", f"the destination is {dst.status()}")
    t.check(dst.run_state() == "inmigrate", f"the destination is {dst.run_state()}")


def disk(t):
    path = os.path.join(t.dir, "disk")
    with open(path, "wb") as f:
        f.truncate(1 << 20)
    return path


def test_alike_guests_pass(t):
    src, dst = t.pair(cpus=2)
    uri = t.listen(dst)
    for _ in range(3):
        result = preflight(t, src, uri)
        t.check(result == {"result": "pass", "mismatches": [], "omitted": 0}, f"{result}")
        waits(t, dst)
        t.assert_untouched(src)
    # It is the same connection point, and the guest goes over it now.
    src.command("migrate", {"uri": uri, "preflight": "first"})
    t.check(t.wait_end(src)["status"] == "completed", f"{src.migration()}")
    t.check(src.migration()["preflight"]["result"] == "pass", "a migration compares, too")
    t.assert_only_runs(dst, src)


def test_all_mismatches_at_once(t):
    src, dst = t.pair(dst_changes={"memory": "32M", "cpus": 1, "extra": ()}, cpus=2, extra=("--disk", disk(t)))
    uri = t.listen(dst)
    result = preflight(t, src, uri)
    t.check(result["result"] == "fail", f"{result}")
    found = subjects(result)
    ram = next(m for s, m in found.items() if s.startswith("ram block"))
    t.check((ram["source"], ram["target"]) == ("64 MiB", "32 MiB"), f"{ram}")
    t.check((found["vCPUs"]["source"], found["vCPUs"]["target"]) == ("2", "1"), f"{found}")
    device = next(m for s, m in found.items() if s.startswith("device") and "blk" in s)
    t.check((device["source"], device["target"]) == ("present", "missing"), f"{device}")
    t.check(all(m["advice"] for m in found.values()), f"each says what to do: {found}")
    waits(t, dst)
    t.assert_untouched(src)

    # A migration finds the same, and its error has all of it.
    src.command("migrate", {"uri": uri})
    text = t.assert_failed(src, "64 MiB at the source, 32 MiB", "vCPUs: 2 at the source, 1", "blk.*present")
    t.check(subjects(src.migration()["preflight"]) == found, f"{src.migration()}")
    t.check(len(text) < 1024, "the text is bounded")
    t.assert_failed(dst, "vCPUs: 2 at the source, 1")
    t.check(subjects(dst.migration()["preflight"]) == found, "the destination knows it, too")
    t.assert_untouched(src)


def test_capabilities_of_both_sides(t):
    src, dst = t.pair()
    src.command("migrate-set-capabilities", {"capabilities": [{"capability": "x-ignore-shared", "state": True}]})
    uri = t.listen(dst)
    result = preflight(t, src, uri)
    t.check(list(subjects(result)) == ["capability 'x-ignore-shared'"], f"{result}")
    t.check((result["mismatches"][0]["source"], result["mismatches"][0]["target"]) == ("on", "off"), f"{result}")
    src.command("migrate-set-capabilities", {"capabilities": [{"capability": "x-ignore-shared", "state": False}]})
    t.check(preflight(t, src, uri)["result"] == "pass", "now it fits")


def test_nobody_there(t):
    src, _dst = t.pair()
    src.command("migrate", {"uri": "tcp:127.0.0.1:1", "preflight": "only"})
    t.assert_failed(src, "connect")
    t.check("preflight" not in src.migration(), "nothing was compared")
    t.assert_untouched(src)


def test_needs_somebody_to_ask(t):
    src, _dst = t.pair()
    t.assert_refused(src, "migrate", {"uri": f"file:{t.dir}/stream", "preflight": "only"}, "preflight")
    t.check(not os.path.exists(f"{t.dir}/stream") and src.status() == "none", "nothing was done")


def test_result_goes_with_the_next_migration(t):
    src, dst = t.pair(dst_changes={"cpus": 2}, cpus=1)
    uri = t.listen(dst)
    t.check(preflight(t, src, uri)["result"] == "fail", "it does not fit")
    src.command("migrate", {"uri": "tcp:127.0.0.1:1"})
    t.assert_failed(src, "connect")
    t.check("preflight" not in src.migration(), "an old result is shown")


def test_cancelled(t):
    """A destination that never answers: the preflight can be cancelled."""
    src, dst = t.pair()
    uri = t.listen(dst)
    worker = migdtest.wait_until(dst.daemon.workers, "the destination's worker runs")[0]
    os.kill(worker, signal.SIGSTOP)
    try:
        src.command("migrate", {"uri": uri, "preflight": "only"})
        migdtest.wait_until(lambda: src.status() == "setup", "it is under way")
        src.command("migrate_cancel")
        t.check(t.wait_end(src)["status"] == "cancelled", f"{src.migration()}")
    finally:
        os.kill(worker, signal.SIGCONT)
    t.assert_untouched(src)


class Impostor(threading.Thread):
    """A destination that gets through the opening and then answers the preflight with `replies`."""

    def __init__(self, replies):
        super().__init__(daemon=True)
        self.replies = replies
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"tcp:127.0.0.1:{self.listener.getsockname()[1]}"
        self.start()

    def run(self):
        with contextlib.suppress(OSError), self.listener, self.listener.accept()[0] as peer:
            read = peer.makefile("rb").read
            read(4 + 4 + 1 + 4 + 4 + 5 + 5 + 4)    # header, machine "none", OPEN_RETURN_PATH, PING
            peer.sendall(reply(0x4D01, struct.pack(">HQ", 1, 7)) + reply(2, b"migd"))
            command = None
            while command != 0x4D02:
                _, command, length = struct.unpack(">BHH", read(5))
                read(length)
            peer.sendall(self.replies)
            read(1)


def reply(kind, body):
    return struct.pack(">HH", kind, len(body)) + body


def mismatch(*texts):
    return reply(0x4D08, b"".join(bytes([len(x)]) + x for x in texts))


def test_malformed_lists(t):
    src, _dst = t.pair()
    good = mismatch(b"a", b"b", b"c", b"d")
    count = lambda n: reply(0x4D09, struct.pack(">I", n))  # noqa: E731
    for name, replies in {
            "no texts": reply(0x4D08, b""), "too short": reply(0x4D08, b"\x7fabc"),
            "too long": good[:3] + bytes([good[3] + 1]) + good[4:] + b"x",
            "a control character": mismatch(b"a\x1b[2J", b"b", b"c", b"d"),
            "no subject": mismatch(b"", b"b", b"c", b"d"), "too many": good * 33 + count(33),
            "a wrong count": good * 2 + count(1), "a count without a list": count(7),
            "a body too large": struct.pack(">HH", 0x4D08, 65535) + bytes(65535),
            "a count cut short": good + reply(0x4D09, b"\0\0\0")}.items():
        for mode in "only", "first":
            src.command("migrate", {"uri": Impostor(replies).uri, "preflight": mode})
            t.assert_failed(src, "return path")
            t.check("preflight" not in src.migration(), f"{name}: believed: {src.migration()}")
    t.assert_untouched(src)
    # And one that is well made is taken.
    result = preflight(t, src, Impostor(good * 2 + count(40)).uri)
    t.check((len(result["mismatches"]), result["omitted"]) == (2, 38), f"{result}")


migdtest.main()
