#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: lab
# TIMEOUT: 1500
"""A guest that rewrites and verifies its memory migrates with KVM's dirty ring of any size, and with its dirty log."""

import contextlib
import os
import subprocess

import inside
import migdtest

TRACING = "/sys/kernel/tracing"
EVENTS = "kvm_dirty_ring_push", "kvm_dirty_ring_reset", "kvm_dirty_ring_exit"


def set_tracing(file, value):
    with open(os.path.join(TRACING, file), "w") as f:
        f.write(value)


@contextlib.contextmanager
def traced():
    """Counts KVM's own events about its rings: {event: number}, filled at the end."""
    if not os.path.exists(os.path.join(TRACING, "trace")):
        subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACING], check=True)
    counts = {}
    set_tracing("trace", "")
    for event in EVENTS:
        set_tracing(f"events/kvm/{event}/enable", "1")
    try:
        yield counts
    finally:
        for event in EVENTS:
            set_tracing(f"events/kvm/{event}/enable", "0")
    with open(os.path.join(TRACING, "trace")) as f:
        lines = f.readlines()
    counts.update({event: sum(f" {event}:" in line for line in lines) for event in EVENTS})


def move(t, extra=(), **options):
    """Returns what KVM's rings did meanwhile."""
    src, dst = t.pair(memory="64M", working_set="4M", extra=extra, **options)
    with traced() as ring:
        info = t.migrate(src, dst, timeout=120)
    t.assert_only_runs(dst, src)
    # Two rounds: every page that came over was checked, and every page that was written here.
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    t.check(src.wait_exit() == 0, "the source VMM ends well")
    ram = info["ram"]
    print(f"{' '.join(extra) or 'dirty log'}: {ram['dirty-sync-count']} passes, {ram['normal']} pages sent, "
          f"downtime {info['downtime']} ms; KVM: {ring}")
    t.check(ram["normal"] * 4096 >= 4 << 20, f"the working set was sent: {ram}")
    return ring


def move_by_ring(t, entries, **options):
    ring = move(t, ["--dirty-ring", str(entries)], **options)
    t.check(ring["kvm_dirty_ring_push"] and ring["kvm_dirty_ring_reset"], f"KVM's ring was used: {ring}")
    return ring


def test_dirty_log(t):
    ring = move(t)
    t.check(not any(ring.values()), f"there is no ring: {ring}")


def test_large_dirty_ring(t):
    ring = move_by_ring(t, 65536)
    t.check(not ring["kvm_dirty_ring_exit"], f"the ring is harvested before it is full: {ring}")


def test_smallest_dirty_ring_fills_up(t):
    ring = move_by_ring(t, 256)
    t.check(ring["kvm_dirty_ring_exit"], f"the ring was full at times: {ring}")


def test_two_vcpus_two_dirty_rings(t):
    move_by_ring(t, 4096, cpus=2)


inside.enter(timeout=1000)
migdtest.main()
