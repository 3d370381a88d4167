#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A destination that is not made like the source is refused before anything moves, and says in what it differs."""

import os

import migdtest


def refused(t, words, dst_changes, **options):
    src, dst = t.pair(dst_changes=dst_changes, **options)
    t.start(src, dst)
    t.assert_failed(src, *words)
    t.assert_failed(dst, *words)
    t.assert_untouched(src)
    t.assert_stopped(dst)
    moved = src.migration().get("ram", {}).get("transferred", 0)
    t.check(moved < 1 << 20, f"{moved} bytes were sent to a destination that cannot take the guest")


def test_smaller_ram(t):
    refused(t, ["ram"], {"memory": "32M"}, memory="64M")


def test_larger_ram(t):
    refused(t, ["ram"], {"memory": "128M"}, memory="64M")


def test_fewer_vcpus(t):
    refused(t, ["vcpu"], {"cpus": 1}, cpus=2)


def test_more_vcpus(t):
    refused(t, ["vcpu"], {"cpus": 2}, cpus=1)


def test_missing_device(t):
    disk = os.path.join(t.dir, "disk")
    with open(disk, "wb") as f:
        f.truncate(1 << 20)
    refused(t, ["virtio|blk|device"], {"extra": ()}, extra=("--disk", disk))


def test_right_one_afterwards(t):
    src, dst = t.pair(dst_changes={"memory": "32M"}, memory="64M", working_set="4M")
    t.start(src, dst)
    t.assert_failed(src)
    dst.kill()
    right = t.incoming(dst.daemon, t.options)
    t.migrate(src, right)
    t.assert_memory_verified(right)


migdtest.main()
