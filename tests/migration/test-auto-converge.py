#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""auto-converge throttles when its parameters say so, and every end of a migration lifts it."""

import migdtest
from migd_process import wait_until

# One high period after the other, whatever the guest does.
EAGER = {"throttle_trigger_threshold": 1, "max_bandwidth": 8 << 20, "downtime_limit": 1}


def capabilities(vmm, *names):
    vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": n, "state": True} for n in names]})


def throttled(src, percent, timeout=60):
    wait_until(lambda: src.migration().get("cpu-throttle-percentage", 0) >= percent, f"a throttle of {percent}%", timeout,
               alive=[src, src.daemon])


def test_parameters_change_while_it_runs(t):
    src, dst = t.pair(payload="writer", memory="64M", working_set="4M")
    capabilities(src, "auto-converge")
    src.set(**EAGER, cpu_throttle_initial=10, cpu_throttle_increment=1, max_cpu_throttle=12)
    t.check("cpu-throttle-percentage" not in src.migration(), "nothing before a migration")
    t.start(src, dst)
    throttled(src, 12)
    before = src.migration()["ram"]["dirty-sync-count"]
    wait_until(lambda: src.migration()["ram"]["dirty-sync-count"] >= before + 4, "four more syncs", 60, alive=[src])
    t.check(src.migration()["cpu-throttle-percentage"] == 12, f"12% is the most: {src.migration()}")
    src.set(max_cpu_throttle=80, cpu_throttle_increment=40)
    throttled(src, 80)
    src.set(max_bandwidth=0, downtime_limit=30000)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"it completes: {info}")
    t.check("cpu-throttle-percentage" not in info, f"the throttle is over: {info}")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_a_held_guest_stops_at_once(t):
    """At 99% a vCPU sleeps for a second at a time. The blackout must not: that sleep is no part of it."""
    src, dst = t.pair(payload="writer", cpus=2, memory="64M", working_set="4M")
    capabilities(src, "auto-converge")
    src.set(**EAGER, cpu_throttle_initial=99)
    t.start(src, dst)
    throttled(src, 99)
    src.set(max_bandwidth=0, downtime_limit=30000)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"it completes: {info}")
    t.check(info["blackout"]["pause"] < 500_000, f"the pause waited for the sleep to end: {info['blackout']}")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_without_the_capability_nothing_is_throttled(t):
    src, dst = t.pair(payload="writer", memory="64M", working_set="4M")
    src.set(**EAGER)
    t.start(src, dst)
    wait_until(lambda: src.migration().get("ram", {}).get("dirty-sync-count", 0) >= 3, "two passes", 60, alive=[src])
    t.check("cpu-throttle-percentage" not in src.migration(), f"throttled without auto-converge: {src.migration()}")
    src.command("migrate_cancel")
    t.wait_end(src)


migdtest.main()
