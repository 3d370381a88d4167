#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 120
"""Post-copy's target: what looks at memory before the guest runs, how long pages took, and a VMM that ends."""

import os

import migdtest
from migd_process import wait_until

TRICKLE = 1 << 20  # bytes/s: the background takes longer than a test


def switched(t, *capabilities, background=0, **options):
    """Its guest runs at the target, and not all of its memory is there."""
    if not os.path.exists("/dev/userfaultfd"):
        raise migdtest.Skip("/dev/userfaultfd is missing")
    src, dst = t.pair(**{"memory": "64M", **options})
    t.fill(src)
    for side in src, dst:
        side.set_capabilities(**{c: True for c in ("postcopy_ram", *capabilities)})
    src.set(max_bandwidth=4 << 20, max_postcopy_bandwidth=background)
    t.start(src, dst)
    src.command("migrate-start-postcopy")
    return src, dst


def completed(t, src, dst):
    src.set(max_postcopy_bandwidth=0)
    for side in src, dst:
        info = t.wait_end(side)
        t.check(info["status"] == "completed", f"{side.label} says {info}")
    t.assert_only_runs(dst, src)


def test_clocks_are_set_in_pages_that_are_missing(t):
    """KVM looks for kvmclock's page when it is given the register that says where it is."""
    src, dst = switched(t, background=TRICKLE, payload="clock", cpus=1)
    wait_until(lambda: dst.status() == "postcopy-active", "the guest runs", alive=[src, dst])
    t.assert_memory_verified(dst, rounds=5)
    completed(t, src, dst)
    t.assert_memory_verified(dst, rounds=5)


def test_numbers(t):
    src, dst = switched(t, "postcopy_preempt", "postcopy_blocktime", background=TRICKLE, working_set="8M", cpus=2)
    wait_until(lambda: dst.status() == "postcopy-active", "the guest runs", alive=[src, dst])
    t.assert_memory_verified(dst, rounds=64)
    info = dst.migration()["postcopy"]
    took = info["fault-latency"]
    t.check(info["missing"] > 0 and info["faults"] > 3, f"pages are missing, and were waited for: {info}")
    t.check(0 < took["min"] <= took["mean"] <= took["max"] and took["p50"] <= took["p99"] <= 2 * took["max"], f"{took}")
    completed(t, src, dst)
    info = dst.migration()
    t.check(info["postcopy"]["missing"] == 0, f"{info}")
    waited = info["postcopy-vcpu-blocktime"]
    t.check(len(waited) == 2 and info["postcopy-blocktime"] <= min(waited) and max(waited) > 0, f"{info}")


def test_its_vmm_ends(t):
    src, dst = switched(t, background=TRICKLE, working_set="8M")
    wait_until(lambda: dst.status() == "postcopy-active", "the guest runs", alive=[src, dst])
    dst.kill()
    t.assert_failed(dst, "the guest's VMM ended, with [0-9]+ pages still to come")
    wait_until(lambda: src.status() != "postcopy-active", "the source notices", alive=[src.daemon])
    info = src.migration()
    t.check(info["status"] == "postcopy-paused" and "VMM ended" in info["error-desc"], f"the source says {info}")
    t.assert_stopped(src)


migdtest.main()
