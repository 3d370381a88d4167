#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A guest can be migrated again and again, from the side it came to."""

import migdtest


def test_there_and_back(t):
    here, there = t.pair(working_set="4M")
    for _ in range(3):
        t.migrate(here, there)
        t.assert_memory_verified(there)
        here.wait_exit()
        here, there = there, t.incoming(here.daemon, t.options)
    t.assert_memory_verified(here, rounds=2 * here.mem.detail(1))


migdtest.main()
