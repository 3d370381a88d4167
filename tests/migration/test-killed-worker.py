#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""kill -9 of a worker ends its migration with a text that says so; the guest runs on at the source."""

import os
import signal

import migdtest
from migd_process import wait_until


def disturb(t, which):
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    victim = src if which == "source" else dst
    worker, = victim.daemon.workers()
    os.kill(worker, signal.SIGKILL)
    t.assert_failed(victim, "worker")
    t.assert_failed(src)
    t.assert_failed(dst)
    t.assert_only_runs(src, dst)
    t.assert_untouched(src)
    wait_until(lambda: not src.daemon.workers() and not dst.daemon.workers(), "the workers are gone")
    # And it works when tried again.
    dst.kill()
    again = t.incoming(dst.daemon, t.options)
    t.speed_up(src)
    t.migrate(src, again)
    t.assert_memory_verified(again, rounds=2 * again.mem.detail(1))


def test_of_the_source(t):
    disturb(t, "source")


def test_of_the_destination(t):
    disturb(t, "destination")


migdtest.main()
