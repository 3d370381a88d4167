#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""max-bandwidth is never exceeded, and downtime-limit decides when a guest is stopped."""

import time

import migdtest
from migd_process import wait_until


def test_bandwidth_limit(t):
    src, dst = t.pair(memory="128M", working_set="64M")
    t.assert_memory_verified(src, rounds=src.mem.detail(1))
    limit = 8 << 20
    src.set(max_bandwidth=limit)
    started = time.monotonic()
    t.start(src, dst)
    t.wait_active(src)
    for _ in range(10):
        time.sleep(0.1)
        sent = src.migration()["ram"]["transferred"]
        allowed = limit * (time.monotonic() - started + 0.4)
        t.check(sent <= allowed, f"{sent} bytes sent where {allowed:.0f} are allowed")
    src.set(max_bandwidth=0)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"it completes without the limit: {info}")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_downtime_limit(t):
    """At 4 MiB/s a working set of 16 MiB cannot be sent within 20 ms."""
    src, dst = t.pair(memory="64M", working_set="16M")
    t.assert_memory_verified(src, rounds=src.mem.detail(1))
    src.set(max_bandwidth=4 << 20, downtime_limit=20)
    t.start(src, dst)
    wait_until(lambda: src.migration().get("ram", {}).get("dirty-sync-count", 0) >= 3, "two passes are done", timeout=60)
    t.check(src.status() == "active", f"it goes on and on: {src.migration()}")
    t.assert_runs(src)
    src.set(downtime_limit=30000)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"it completes with a higher limit: {info}")
    t.assert_memory_verified(dst)


def test_parameters_are_checked(t):
    src, _ = t.pair()
    before = src.command("query-migrate-parameters")
    t.assert_refused(src, "migrate-set-parameters", {"downtime-limit": 2000001}, "downtime_limit")
    t.assert_refused(src, "migrate-set-parameters", {"max-bandwidth": "1G"})
    t.assert_refused(src, "migrate-set-parameters", {"max-bandwidth": 5, "downtime-limit": 2000001})
    t.assert_refused(src, "migrate-set-parameters", {"no-such": 1}, "no-such")
    t.check(src.command("query-migrate-parameters") == before, "nothing was applied")


migdtest.main()
