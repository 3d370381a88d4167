#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A disk goes with its guest: requests in flight are drained, and its lock is handed over."""

import os

import migdtest
from migd_process import wait_until


def pair_with_disk(t):
    disk = os.path.join(t.dir, "disk")
    with open(disk, "wb") as f:
        f.truncate(4 << 20)
    return disk, t.pair(payload="disk", extra=("--disk", disk))


def assert_locked(t, daemon, disk):
    """No other VMM may use the disk."""
    thief = t.vmm(daemon, name="thief", payload="idle", extra=("--disk", disk), attached=False)
    t.check(thief.wait_exit() != 0, "a second VMM took the disk")
    t.check(disk in thief.log_text().split("\n", 1)[1], f"it names the disk: {thief.log_text()}")


def test_disk_goes_along(t):
    disk, (src, dst) = pair_with_disk(t)
    t.assert_memory_verified(src, rounds=20)
    assert_locked(t, src.daemon, disk)
    t.migrate(src, dst)
    t.assert_memory_verified(dst, rounds=50)
    src.wait_exit()
    assert_locked(t, dst.daemon, disk)
    t.assert_runs(dst)


def test_disk_comes_back_after_failure(t):
    disk, (src, dst) = pair_with_disk(t)
    t.fill(src)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    dst.kill()
    t.assert_failed(src)
    t.assert_memory_verified(src, rounds=20)
    assert_locked(t, src.daemon, disk)


def test_there_and_back(t):
    _, (src, dst) = pair_with_disk(t)
    for _ in range(3):
        t.assert_memory_verified(src, rounds=5)
        t.migrate(src, dst)
        t.assert_memory_verified(dst, rounds=5)
        src.wait_exit()
        src, dst = dst, t.incoming(src.daemon, t.options)
    wait_until(lambda: src.mem.checks > 0, "the guest goes on")


migdtest.main()
