#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
# SERIAL: whoever holds the vCPUs back needs a CPU in time
"""A guest throttled by 50 % runs for 40 to 60 % of the time in which it would otherwise, all of its vCPUs."""

import os
import time

import migdtest
from migd_process import wait_until

# One high period after the other, whatever the guest does.
EAGER = {"throttle_trigger_threshold": 1, "max_bandwidth": 8 << 20, "downtime_limit": 1}


def capabilities(vmm, *names):
    vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": n, "state": True} for n in names]})


def schedstat(vmm, tid):
    """Seconds that a thread ran, and that it waited for a CPU: never asleep, so not held back by anybody but the machine."""
    with open(f"/proc/{vmm.pid}/task/{tid}/schedstat", encoding="ascii") as f:
        run, wait, _ = f.read().split()
    return (int(run) + int(wait)) / 1e9


def vcpu_threads(vmm, n):
    """Those that run all the time."""
    tids = os.listdir(f"/proc/{vmm.pid}/task")
    return sorted(tids, key=lambda tid: schedstat(vmm, tid), reverse=True)[:n]


def throttle(src, percent):
    """Let the next decision make it so much, up or down."""
    src.set(cpu_throttle_initial=1, cpu_throttle_increment=99, max_cpu_throttle=percent)
    wait_until(lambda: src.migration().get("cpu-throttle-percentage", 0) == percent, f"a throttle of {percent}%", 60,
               alive=[src, src.daemon])


def awake(vmm, tids, seconds):
    """The share of the next SECONDS in which each thread wants to run, whether it gets a CPU or not."""
    began, before = time.monotonic(), [schedstat(vmm, tid) for tid in tids]
    time.sleep(seconds)
    took = time.monotonic() - began
    return [(schedstat(vmm, tid) - b) / took for tid, b in zip(tids, before)]


def test_half_the_guest_at_half_the_throttle(t):
    """Free (1 %) and throttled in turns, in one migration."""
    src, dst = t.pair(payload="writer", cpus=2, memory="64M", working_set="4M")
    capabilities(src, "auto-converge")
    src.set(**EAGER, cpu_throttle_initial=1, max_cpu_throttle=1)
    t.start(src, dst)
    tids = vcpu_threads(src, 2)
    free, slowed = [0.0, 0.0], [0.0, 0.0]
    for _ in range(4):
        throttle(src, 1)
        free = [a + b / 0.99 for a, b in zip(free, awake(src, tids, 1))]
        throttle(src, 50)
        slowed = [a + b for a, b in zip(slowed, awake(src, tids, 1))]
    src.command("migrate_cancel")
    t.wait_end(src)
    shares = [b / a for a, b in zip(free, slowed)]
    print(f"free {free}, throttled {slowed}: shares {shares}")
    for share in shares:
        t.check(0.4 <= share <= 0.6, f"vCPUs throttled by 50% want to run for {shares} of the time that free ones do")


migdtest.main()
