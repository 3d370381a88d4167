#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""Guest memory whose file changes its size during a migration: refused by name, and the guest runs on."""

import os

import migdtest


def test_file_that_grows(t):
    src, dst = t.pair()
    t.make_slow(src)
    t.fill(src)
    t.start(src, dst)
    t.wait_active(src)
    os.truncate(src.memory_file, (64 << 20) + 4096)
    t.speed_up(src)
    info = t.wait_end(src)
    t.check(info["status"] == "failed", f"it ended {info}")
    want = f"the file of RAM block 'ram' had {64 << 20} bytes and has {(64 << 20) + 4096} now: guest memory cannot be resized"
    t.check(want in info["error-desc"], f"'{info['error-desc']}' does not say '{want}'")
    t.assert_untouched(src)


migdtest.main()
