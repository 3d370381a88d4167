#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# SERIAL: makes network namespaces with fixed addresses
# TIMEOUT: 240
"""Peers and name servers that never answer: connecting ends by itself, can be cancelled at once, and blocks nobody."""

import json
import time

import migdtest
import migd_netns
from migd_process import SLOW

NAME_SERVER = f"nameserver {migd_netns.Pair.BLACK_HOLE}\noptions timeout:30 attempts:3\n"
CONNECT_SECONDS, LOOK_UP_SECONDS = 10, 25  # docs/addresses.md


def hosts(t):
    """(namespaces, source, destination): the source's packets for BLACK_HOLE vanish, and its name server is there."""
    migdtest.need_root()
    spaces = t.cleanup.enter_context(migd_netns.pair())
    spaces.make_black_hole()
    spaces.etc(0, "resolv.conf", NAME_SERVER)
    spaces.etc(0, "hosts", f"127.0.0.1 localhost\n{spaces.addresses[1]} two\n10.77.0.3 two\n")
    a, b = t.daemon("a", netns=spaces.names[0]), t.daemon("b", netns=spaces.names[1])
    t.options = {"working_set": "1M"}
    src = t.vmm(a, **t.options)
    dst = t.incoming(b, t.options)
    t.assert_runs(src)
    return spaces, src, dst


def time_to_fail(t, src, uri, *words):
    started = time.monotonic()
    src.command("migrate", {"uri": uri})
    t.assert_failed(src, *words, timeout=60)
    t.assert_untouched(src)
    return time.monotonic() - started


def test_connecting_ends(t):
    spaces, src, _ = hosts(t)
    peer = f"{spaces.BLACK_HOLE}:4444"
    took = time_to_fail(t, src, f"tcp:{peer}", peer, "timed out", f"{CONNECT_SECONDS} s")
    t.check(CONNECT_SECONDS - 1 < took < CONNECT_SECONDS + 10 * SLOW, f"after {CONNECT_SECONDS} s, not {took:.1f}")


def test_looking_up_ends(t):
    _, src, _ = hosts(t)
    took = time_to_fail(t, src, "tcp:host.example:4444", "host.example", f"longer than {LOOK_UP_SECONDS} s")
    t.check(LOOK_UP_SECONDS - 1 < took < LOOK_UP_SECONDS + 10 * SLOW, f"after {LOOK_UP_SECONDS} s, not {took:.1f}")


def test_cancelled_while_connecting(t):
    spaces, src, dst = hosts(t)

    def prepare():
        src.command("migrate", {"uri": f"tcp:{spaces.BLACK_HOLE}:4444"})
        time.sleep(0.3)
    t.assert_cancels_in_time(src, prepare)
    t.migrate(src, dst, f"tcp:{spaces.addresses[1]}:0")
    t.assert_only_runs(dst, src)


def test_cancelled_while_looking_up(t):
    spaces, src, dst = hosts(t)

    def prepare():
        src.command("migrate", {"uri": "tcp:host.example:4444"})
        time.sleep(0.3)
    t.assert_cancels_in_time(src, prepare)
    t.migrate(src, dst, f"tcp:{spaces.addresses[1]}:0")
    t.assert_only_runs(dst, src)


def test_others_go_on(t):
    """One guest's look-up hangs, another of the same host is migrated."""
    spaces, src, dst = hosts(t)
    other = t.vmm(src.daemon, name="other", **t.options)
    t.assert_runs(other)
    other.command("migrate", {"uri": "tcp:host.example:4444"})
    t.migrate(src, dst, f"tcp:{spaces.addresses[1]}:0")
    t.assert_only_runs(dst, src)
    t.check(other.status() == "setup", f"the other still looks up: {other.status()}")
    other.command("migrate_cancel")
    t.wait_end(other)


def test_incoming_name_that_is_not_found(t):
    """The command is answered when the look-up is given up, and the guest can be armed again."""
    spaces, src, dst = hosts(t)
    waits = t.incoming(src.daemon, t.options, name="waits")
    request = {"execute": "migrate-incoming", "arguments": {"uri": "tcp:host.example:0", "guest": "waits"}}
    with src.daemon.connect() as session:
        session.send(json.dumps(request).encode())
        started = time.monotonic()
        t.check(src.daemon.guest("waits")["attached"], "the other guest is there")
        t.check(time.monotonic() - started < 5 * SLOW, "others are answered meanwhile")
        answer = session.receive(timeout=60 * SLOW)
    t.check("longer than" in answer.get("error", {}).get("desc", ""), f"the answer is {answer}")
    t.listen(waits, f"tcp:{spaces.addresses[0]}:0")


def test_second_address_of_a_name(t):
    """The first refuses, the guest goes to the second."""
    spaces, src, dst = hosts(t)
    spaces.ip(1, "address", "add", "10.77.0.3/24", "dev", spaces.links[1])
    port = t.listen(dst, "tcp:10.77.0.3:0").rpartition(":")[2]
    src.command("migrate", {"uri": f"tcp:two:{port}"})
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"{info}")
    t.assert_only_runs(dst, src)


migdtest.main()
