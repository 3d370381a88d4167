#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""Guests of one daemon migrate at the same time and do not disturb each other."""

import migdtest
from migd_process import wait_until


def test_two_at_once(t):
    a, b = t.daemon("a"), t.daemon("b")
    options = {"working_set": "4M"}
    pairs = [(t.vmm(a, name=n, **options), t.incoming(b, options, name=n)) for n in ("one", "two")]
    for src, dst in pairs:
        t.assert_runs(src)
        t.start(src, dst)
    for src, dst in pairs:
        t.check(t.wait_end(src)["status"] == "completed", f"{src.name}: {src.migration()}")
        t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_failure_of_one_is_its_own(t):
    a, b = t.daemon("a"), t.daemon("b")
    options = {"working_set": "16M"}
    (one, one_dst), (two, two_dst) = [(t.vmm(a, name=n, **options), t.incoming(b, options, name=n))
                                      for n in ("one", "two")]
    for src, dst in (one, one_dst), (two, two_dst):
        t.assert_runs(src)
        t.make_slow(src, 2 << 20)
        t.start(src, dst)
        t.wait_active(src)
    one_dst.kill()
    t.assert_failed(one)
    t.check(two.status() == "active", f"the other goes on: {two.migration()}")
    t.speed_up(two)
    t.check(t.wait_end(two)["status"] == "completed", f"and completes: {two.migration()}")
    t.assert_runs(two_dst)
    t.assert_untouched(one)


def test_refusals(t):
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    t.assert_refused(src, "migrate", {"uri": "tcp:127.0.0.1:1"}, "already|in progress")
    t.assert_refused(src, "migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]},
                     "in progress|running")
    t.assert_refused(src, "migrate-incoming", {"uri": "tcp:127.0.0.1:0"})
    t.assert_refused(dst, "migrate", {"uri": "tcp:127.0.0.1:1"})
    t.assert_refused(src, "guest-detach", {})
    t.check(src.status() == "active", "and it goes on")


def test_migrated_guest_is_not_migrated_again(t):
    src, dst = t.pair()
    t.migrate(src, dst)
    if src.running() and src.daemon.guest(src.name):
        t.assert_refused(src, "migrate", {"uri": "tcp:127.0.0.1:1"})
        t.assert_refused(src, "cont", {})
    wait_until(lambda: not src.running(), "the source VMM ends")


migdtest.main()
