#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""All vCPUs of a guest go on passing their token after a move."""

import migdtest


def test_smp(t):
    src, dst = t.pair(payload="smp", cpus=2)
    t.assert_memory_verified(src, rounds=10)
    t.migrate(src, dst)
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=10)


def test_smp_there_and_back(t):
    src, dst = t.pair(payload="smp", cpus=2)
    for _ in range(2):
        t.migrate(src, dst)
        t.assert_memory_verified(dst, rounds=5)
        src, dst = dst, t.incoming(src.daemon, t.options)


migdtest.main()
