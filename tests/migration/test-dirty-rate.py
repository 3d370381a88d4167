#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""calc-dirty-rate measures what a guest dirties, beside its other work; KVM's dirty log and migrations get along."""

import os
import time

import migdtest
from migd_process import wait_until

# The writer goes over all of it again and again, many times a second.
WORKING_SET_MIB = 16
OPTIONS = {"payload": "writer", "memory": "64M", "working_set": f"{WORKING_SET_MIB}M"}


def rate(vmm, **arguments):
    return vmm.command("query-dirty-rate", {k.replace("_", "-"): v for k, v in arguments.items()})


def measure(vmm, mode, seconds=1, **arguments):
    vmm.command("calc-dirty-rate", {"calc-time": seconds, "mode": mode, **arguments})
    return wait_until(lambda: (lambda r: r if r["status"] == "measured" else None)(rate(vmm)), "the rate is measured",
                      timeout=30, alive=[vmm, vmm.daemon])


def alone(t, **options):
    return t.vmm(t.daemon("a"), **{**OPTIONS, **options})


def ready(t, vmm):
    t.assert_runs(vmm)
    t.assert_memory_verified(vmm, rounds=vmm.mem.detail(1))


def test_nothing_is_known_at_first(t):
    vmm = alone(t)
    t.check(rate(vmm) == {"status": "unstarted", "start-time": 0, "calc-time": 0, "calc-time-unit": "second",
                          "sample-pages": 0, "mode": "page-sampling"}, f"{rate(vmm)}")


def test_page_sampling(t):
    """In a second, all of the working set is written: so much is the rate."""
    vmm = alone(t)
    ready(t, vmm)
    before = int(time.time())
    info = measure(vmm, "page-sampling", **{"sample-pages": 16384})
    # 1024 samples, of which a quarter changes: 5 MiB/s are five standard deviations.
    t.check(abs(info["dirty-rate"] - WORKING_SET_MIB) <= 5, f"16 MiB/s expected: {info}")
    t.check(before <= info["start-time"] <= int(time.time()) and info["calc-time"] == 1
            and info["sample-pages"] == 16384 and info["mode"] == "page-sampling", f"{info}")
    t.check("vcpu-dirty-rate" not in info, f"{info}")
    t.check(rate(vmm, calc_time_unit="millisecond")["calc-time"] == 1000, "in the unit asked for")
    vmm.command("stop")
    t.check(measure(vmm, "page-sampling")["dirty-rate"] == 0, f"a stopped guest dirties nothing: {rate(vmm)}")


def test_sampling_allocates_no_hole(t):
    vmm = alone(t, memory="1G", working_set="1M")
    ready(t, vmm)
    vmm.command("stop")
    before = os.stat(vmm.memory_file).st_blocks
    info = measure(vmm, "page-sampling", **{"sample-pages": 16384})
    t.check(info["dirty-rate"] == 0, f"{info}")
    after = os.stat(vmm.memory_file).st_blocks
    t.check(after == before, f"memory in use grew from {before} to {after} blocks of 512 bytes")


def test_dirty_bitmap(t):
    """The same by KVM's log, twice: the second time, it is protected anew."""
    vmm = alone(t)
    ready(t, vmm)
    for seconds in 1, 2:
        info = measure(vmm, "dirty-bitmap", seconds)
        expected = WORKING_SET_MIB / seconds
        t.check(0.7 * expected <= info["dirty-rate"] <= expected + 1, f"{expected} MiB/s expected: {info}")
        t.check(info["sample-pages"] == 0 and info["mode"] == "dirty-bitmap", f"{info}")
    vmm.command("stop")
    t.check(measure(vmm, "dirty-bitmap")["dirty-rate"] == 0, f"a stopped guest dirties nothing: {rate(vmm)}")


def test_arguments_are_checked_in_order(t):
    vmm = alone(t)
    ready(t, vmm)

    def refused(arguments, *words):
        t.assert_refused(vmm, "calc-dirty-rate", arguments, *words)

    for time_ in -1, 0, 49, 60001, 2 ** 62:
        refused({"calc-time": time_, "calc-time-unit": "millisecond", "sample-pages": 1, "mode": "dirty-ring"},
                "calc-time", "50", "60000")
    refused({"calc-time": 61}, "calc-time")
    refused({"calc-time": 2 ** 62}, "calc-time")
    refused({"calc-time": 1, "sample-pages": 1, "mode": "dirty-ring"}, "sample-pages", "page-sampling")
    refused({"calc-time": 1, "sample-pages": 512, "mode": "dirty-bitmap"}, "sample-pages", "page-sampling")
    for pages in -1, 127, 16385:
        refused({"calc-time": 1, "sample-pages": pages}, "sample-pages", "128", "16384")
    refused({"calc-time": 1, "mode": "dirty-ring"}, "dirty ring")
    t.check(rate(vmm)["status"] == "unstarted", "nothing was started")

    vmm.command("calc-dirty-rate", {"calc-time": 60})
    t.check(rate(vmm)["status"] == "measuring" and "dirty-rate" not in rate(vmm), f"{rate(vmm)}")
    refused({"calc-time": 0, "sample-pages": 1, "mode": "dirty-ring"}, "already")


def test_limits_need_a_ring(t):
    vmm = alone(t)
    t.assert_refused(vmm, "set-vcpu-dirty-limit", {"dirty-rate": 10}, "dirty ring")
    t.check(vmm.command("cancel-vcpu-dirty-limit") == {}, "nothing to cancel")
    t.check(vmm.command("query-vcpu-dirty-limit") == [], "nothing is limited")
    t.assert_refused(vmm, "migrate-set-capabilities",
                     {"capabilities": [{"capability": "dirty-limit", "state": True}]}, "dirty-limit", "dirty ring")


def test_a_migration_and_measurements(t):
    """One that starts takes the log over; while it runs, pages can be sampled; both sides find all memory right."""
    src, dst = t.pair(**OPTIONS)
    ready(t, src)
    src.command("calc-dirty-rate", {"calc-time": 60, "mode": "dirty-bitmap"})
    wait_until(lambda: rate(src)["start-time"], "it began", alive=[src])
    time.sleep(0.3)
    src.set(max_bandwidth=4 << 20, downtime_limit=1)
    t.start(src, dst)
    t.wait_active(src)
    info = rate(src)
    t.check(info["status"] == "measured" and info["dirty-rate"] >= 1, f"it ended early, with a result: {info}")
    t.assert_refused(src, "calc-dirty-rate", {"calc-time": 1, "mode": "dirty-bitmap"}, "migration", "page-sampling")
    info = measure(src, "page-sampling")
    t.check(info["dirty-rate"] >= 8, f"{info}")
    src.set(max_bandwidth=0, downtime_limit=30000)
    t.check(t.wait_end(src)["status"] == "completed", "it completes")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    info = measure(dst, "dirty-bitmap")
    t.check(info["dirty-rate"] >= 8, f"the log works on the target: {info}")


migdtest.main()
