#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# SERIAL: makes network namespaces with fixed addresses
# TIMEOUT: 180
"""Two hosts with a cable between them: it works, and pulling the cable costs nothing."""

import time

import migdtest
import migd_netns


def hosts(t, **options):
    """(cable, source, destination) in two namespaces."""
    migdtest.need_root()
    spaces = t.cleanup.enter_context(migd_netns.pair())
    a, b = t.daemon("a", netns=spaces.names[0]), t.daemon("b", netns=spaces.names[1])
    t.options = options
    src = t.vmm(a, **options)
    dst = t.incoming(b, options)
    t.assert_runs(src)
    return spaces, src, dst


def test_over_the_network(t):
    spaces, src, dst = hosts(t, working_set="8M")
    t.migrate(src, dst, f"tcp:{spaces.addresses[1]}:0")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_cable_pulled_and_plugged_in(t):
    """TCP gets over it, and so does the migration."""
    spaces, src, dst = hosts(t, working_set="8M")
    t.make_slow(src, 4 << 20)
    t.start(src, dst, f"tcp:{spaces.addresses[1]}:0")
    t.wait_active(src)
    spaces.cable(False)
    time.sleep(1)
    t.assert_runs(src)
    spaces.cable(True)
    t.speed_up(src)
    info = t.wait_end(src, timeout=100)
    if info["status"] == "completed":
        t.assert_only_runs(dst, src)
    else:
        t.assert_only_runs(src, dst)


def test_cancelled_while_the_cable_is_out(t):
    spaces, src, dst = hosts(t, working_set="8M")
    t.make_slow(src, 1 << 20)
    t.start(src, dst, f"tcp:{spaces.addresses[1]}:0")
    t.wait_active(src)
    spaces.cable(False)
    started = time.monotonic()
    src.command("migrate_cancel")
    info = t.wait_end(src)
    t.check(info["status"] == "cancelled", f"cancelled: {info}")
    t.check(time.monotonic() - started < 5, "without waiting for the network")
    t.assert_untouched(src)


def test_no_route(t):
    _, src, _ = hosts(t)
    src.command("migrate", {"uri": "tcp:192.0.2.1:4444"})
    t.assert_failed(src, "192.0.2.1:4444", "unreachable")
    t.assert_untouched(src)


migdtest.main()
