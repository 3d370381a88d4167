#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""Parameters that may change while a migration runs take effect in it."""

import migdtest
from migdtest import wait_until

MIB = 1 << 20


def mbps(vmm):
    return vmm.migration().get("ram", {}).get("mbps", 0)


def slow_pair(t, **parameters):
    """A guest with a lot to send, slowly, and no downtime that would do."""
    src, dst = t.pair(memory="128M", working_set="8M")
    t.fill(src, 64 * MIB, 48 * MIB)
    src.set(downtime_limit=0, **parameters)
    t.start(src, dst)
    t.wait_active(src)
    return src, dst


def test_max_bandwidth_up_and_down(t):
    src, _dst = slow_pair(t, max_bandwidth=2 * MIB)
    slow = 2 * 2 * MIB * 8 / 1e6    # one iteration may overshoot
    wait_until(lambda: 0 < mbps(src) <= slow, "it is slow")
    sent = src.migration()["ram"]["transferred"]
    src.set(max_bandwidth=400 * MIB)
    wait_until(lambda: mbps(src) > slow, "it becomes faster")
    wait_until(lambda: src.migration()["ram"]["transferred"] > sent + 8 * MIB, "and sends more")
    src.set(max_bandwidth=2 * MIB)
    wait_until(lambda: 0 < mbps(src) <= slow, "it is slow again")
    t.check(src.status() == "active", f"{src.migration()}")


def test_downtime_limit_ends_the_passes(t):
    src, dst = slow_pair(t, max_bandwidth=64 * MIB)
    wait_until(lambda: src.migration()["ram"]["dirty-sync-count"] >= 3, "passes go on: nothing fits a limit of 0")
    t.check(src.status() == "active", f"{src.migration()}")
    src.set(downtime_limit=2000)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"{info}")
    t.assert_only_runs(dst, src)


def test_avail_switchover_bandwidth_counts(t):
    """What is sent slowly would take too long; an operator knows that the switchover has another bandwidth."""
    src, dst = slow_pair(t, max_bandwidth=64 * MIB)
    src.set(max_bandwidth=4 * MIB, downtime_limit=20)
    first = src.migration()["ram"]["dirty-sync-count"]
    t.check(src.status() == "active", f"{src.migration()}")
    src.set(avail_switchover_bandwidth=1 << 40, max_bandwidth=64 * MIB)
    info = t.wait_end(src)
    t.check(info["status"] == "completed" and info["ram"]["dirty-sync-count"] > first, f"{info}")
    t.assert_only_runs(dst, src)


def test_capabilities_do_not_change(t):
    src, dst = slow_pair(t, max_bandwidth=2 * MIB)
    before = src.command("query-migrate-capabilities")
    for capability, state in ("events", True), ("events", False), ("multifd", True):
        t.assert_refused(src, "migrate-set-capabilities",
                         {"capabilities": [{"capability": capability, "state": state}]}, "in progress")
    t.check(src.command("query-migrate-capabilities") == before, "nothing changed")
    src.command("migrate_cancel")
    t.wait_end(src)
    src.command("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]})


migdtest.main()
