#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""A guest that does not converge, and post-copy as the way out."""

import migdtest

# 4 MiB that are written again faster than 4 MiB/s can send them.
BUSY = {"payload": "writer", "memory": "64M", "working_set": "4M"}
SLOW = {"max_bandwidth": 4 << 20, "downtime_limit": 1}


def capabilities(vmm, *names):
    vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": n, "state": True} for n in names]})


def postcopy_pair(t):
    src, dst = t.pair(**BUSY)
    for vmm in src, dst:
        capabilities(vmm, "postcopy-ram")
    src.set(**SLOW)
    return src, dst


def begin(t, src, dst, **arguments):
    src.command("migrate", {"uri": t.listen(dst), **arguments})


def arrives_by_postcopy(t, src, dst, kinds):
    """It completes by post-copy, after these decisions; returns them."""
    info = t.wait_end(src)
    t.check(info["status"] == "completed" and "postcopy" in info, f"it completes by post-copy: {info}")
    t.check([d["decision"] for d in info["decisions"]] == kinds, f"it decided {info['decisions']}")
    t.check(t.wait_end(dst)["status"] == "completed", f"it arrived: {dst.migration()}")
    t.check("decisions" not in dst.migration(), "the destination decides nothing")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    return info["decisions"]


def test_strategy_postcopy(t):
    src, dst = postcopy_pair(t)
    begin(t, src, dst, strategy="postcopy")
    decided, = arrives_by_postcopy(t, src, dst, ["postcopy"])
    t.check(decided["pass"] == 2 and "strategy postcopy" in decided["reason"], f"after the first pass: {decided}")


def test_auto_goes_to_postcopy(t):
    src, dst = postcopy_pair(t)
    begin(t, src, dst, strategy="auto")
    decided, = arrives_by_postcopy(t, src, dst, ["postcopy"])
    t.check(decided["pass"] >= 3 and "does not converge" in decided["reason"], f"after two that do not converge: {decided}")


def test_auto_throttles_before_postcopy(t):
    src, dst = postcopy_pair(t)
    capabilities(src, "auto-converge")
    src.set(max_bandwidth=8 << 20, cpu_throttle_initial=20, max_cpu_throttle=20)
    begin(t, src, dst, strategy="auto")
    last = arrives_by_postcopy(t, src, dst, ["throttle", "postcopy"])[-1]
    t.check("throttled as far as it may be" in last["reason"], f"it was throttled: {last}")
    t.check("cpu-throttle-percentage" not in src.migration(), "the throttle is over")


def test_a_deadline_brings_postcopy_forward(t):
    """The first pass takes 3 s of the 4: what it leaves can be sent in time only once."""
    src, dst = postcopy_pair(t)
    t.fill(src, length=8 << 20)
    begin(t, src, dst, strategy="auto", deadline=4000)
    decided, = arrives_by_postcopy(t, src, dst, ["postcopy"])
    t.check("until the deadline" in decided["reason"], f"for the deadline's sake: {decided}")


def test_a_deadline_ends_a_pass_for_postcopy(t):
    """The first pass alone would take 7 s."""
    src, dst = postcopy_pair(t)
    t.fill(src, length=24 << 20)
    begin(t, src, dst, strategy="auto", deadline=3000)
    decided, = arrives_by_postcopy(t, src, dst, ["postcopy"])
    t.check(decided["pass"] == 1 and "until the deadline" in decided["reason"], f"in the first pass: {decided}")
    t.check(src.migration()["ram"]["postcopy-bytes"] > 8 << 20, f"most came later: {src.migration()}")
    t.check(dst.mem.map[32 << 20:56 << 20] == b"x" * (24 << 20), "what was filled in arrived")


def test_the_operator_is_faster(t):
    src, dst = postcopy_pair(t)
    begin(t, src, dst, strategy="auto", deadline=3_600_000)
    t.wait_active(src)
    src.command("migrate-start-postcopy")
    info = t.wait_end(src)
    t.check(info["status"] == "completed" and "postcopy" in info, f"it completes by post-copy: {info}")
    t.check("decisions" not in info, f"it did not decide that: {info}")
    t.assert_only_runs(dst, src)


migdtest.main()
