#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""kill -9 of the worker at any moment of a lazy restore: the guest arrives whole, or it failed before it ran, and says so."""

import collections
import os
import signal
import time

import migdtest
from migd_lazy import FILLED, OPTIONS, capabilities, restore, saved

ROUNDS = 16
LONGEST = 0.04  # by then it runs


def kill_later(dst, seconds):
    workers = dst.daemon.workers()
    time.sleep(seconds)
    for worker in workers:
        try:
            os.kill(worker, signal.SIGKILL)
        except ProcessLookupError:
            pass


def test_of_the_worker(t):
    rnd, seen = migdtest.seed(), collections.Counter()
    dst = saved(t)
    for _ in range(ROUNDS):
        restore(t, dst, limit=0)
        kill_later(dst, rnd.uniform(0, LONGEST))
        info = t.wait_end(dst)
        seen[info["status"]] += 1
        if info["status"] == "completed":
            t.check(dst.mem.map[FILLED] == t.pattern, "what it had in memory is there")
            t.assert_memory_verified(dst, rounds=64)
        else:
            # Its VMM, which ends when the worker does, may be missed first.
            t.check("worker" in info["error-desc"] or "VMM" in info["error-desc"], f"{info}")
        dst.kill()
        dst = t.incoming(t.b, OPTIONS)
        capabilities(["mapped-ram"], dst)
    print(f"how they ended: {dict(seen)}")


migdtest.main()
