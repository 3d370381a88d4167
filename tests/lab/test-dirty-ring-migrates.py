#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: lab
# TIMEOUT: 1500
"""A guest that rewrites and verifies its memory migrates with KVM's dirty ring of any size, and with its dirty log."""

import inside
import migdtest


def move(t, extra=(), **options):
    src, dst = t.pair(memory="64M", working_set="4M", extra=extra, **options)
    info = t.migrate(src, dst, timeout=120)
    t.assert_only_runs(dst, src)
    # Two rounds: every page that came over was checked, and every page that was written here.
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    t.check(src.wait_exit() == 0, "the source VMM ends well")
    ram = info["ram"]
    print(f"{' '.join(extra) or 'dirty log'}: {ram['dirty-sync-count']} passes, {ram['normal']} pages sent, "
          f"downtime {info['downtime']} ms")
    t.check(ram["normal"] * 4096 >= 4 << 20, f"the working set was sent: {ram}")


def test_dirty_log(t):
    move(t)


def test_dirty_ring(t):
    move(t, ["--dirty-ring", "65536"])


def test_dirty_ring_that_fills_up(t):
    move(t, ["--dirty-ring", "1024"])


def test_dirty_ring_two_vcpus(t):
    move(t, ["--dirty-ring", "4096"], cpus=2)


inside.enter(timeout=1000)
migdtest.main()
