#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
# SERIAL: vCPUs that wait for a core slow down by less than they are throttled
"""A guest throttled by 50 % runs at 40 to 60 % of its own free rate, all of its vCPUs."""

import os
import time

import migdtest
from migd_process import wait_until

# One high period after the other, whatever the guest does.
EAGER = {"throttle_trigger_threshold": 1, "max_bandwidth": 8 << 20, "downtime_limit": 1}


def capabilities(vmm, *names):
    vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": n, "state": True} for n in names]})


def favour(vmm):
    """Let the scheduler prefer its vCPUs to what else the machine does, if we may."""
    for tid in os.listdir(f"/proc/{vmm.pid}/task"):
        try:
            os.setpriority(os.PRIO_PROCESS, int(tid), -15)
        except PermissionError:
            pass


def throttle(src, percent):
    """Let the next decision make it so much, up or down."""
    src.set(cpu_throttle_initial=1, cpu_throttle_increment=99, max_cpu_throttle=percent)
    wait_until(lambda: src.migration().get("cpu-throttle-percentage", 0) == percent, f"a throttle of {percent}%", 60,
               alive=[src, src.daemon])


def counted(vmm, seconds):
    """What each vCPU counts in a second."""
    def now():
        return time.monotonic(), vmm.mem.heartbeat, vmm.mem.vcpu_beat(1)
    began = now()
    time.sleep(seconds)
    ended = now()
    took = ended[0] - began[0]
    return [(ended[i] - began[i]) / took for i in (1, 2)]


def test_half_the_guest_at_half_the_throttle(t):
    """Free (1 %) and throttled in turns, in one migration: what else the machine does hits both."""
    src, dst = t.pair(payload="writer", cpus=2, memory="64M", working_set="4M")
    favour(src)
    capabilities(src, "auto-converge")
    src.set(**EAGER, cpu_throttle_initial=1, max_cpu_throttle=1)
    t.start(src, dst)
    free, slowed = [0.0, 0.0], [0.0, 0.0]
    for _ in range(5):
        throttle(src, 1)
        free = [a + b / 0.99 for a, b in zip(free, counted(src, 1))]
        throttle(src, 50)
        slowed = [a + b for a, b in zip(slowed, counted(src, 1))]
    src.command("migrate_cancel")
    t.wait_end(src)
    shares = [b / a for a, b in zip(free, slowed)]
    print(f"free {free}, throttled {slowed}: shares {shares}")
    for share in shares:
        t.check(0.4 <= share <= 0.6, f"vCPUs throttled by 50% run at {shares} of their speed")


migdtest.main()
