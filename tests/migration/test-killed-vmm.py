#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""kill -9 of a VMM: the destination's costs nothing, the source's ends the migration and never runs half a guest."""

import os
import signal

import migdtest
from migd_faults import state_of
from migd_process import wait_until


def test_of_the_destination(t):
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    dst.kill()
    t.assert_failed(src)
    t.assert_untouched(src)
    again = t.incoming(dst.daemon, t.options)
    t.speed_up(src)
    t.migrate(src, again)
    t.assert_memory_verified(again, rounds=2 * again.mem.detail(1))


def test_of_the_destination_while_it_listens(t):
    src, dst = t.pair()
    uri = t.listen(dst)
    dst.kill()
    wait_until(lambda: not dst.daemon.workers(), "its worker is gone")
    src.command("migrate", {"uri": uri})
    t.assert_failed(src)
    t.assert_untouched(src)


def test_of_the_source(t):
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    src.kill()
    t.assert_failed(dst)
    t.assert_stopped(dst)
    wait_until(lambda: not src.daemon.workers(), "its worker is gone")


def test_destination_that_says_so_is_not_told(t):
    """All of the stream is there when it is killed: its worker says that it failed, and the source's has nobody to tell."""
    src, dst = t.pair(dst_env={"MIGD_FAULT": "stream.end-received=stop"})
    t.start(src, dst)
    worker = wait_until(lambda: next((p for p in dst.daemon.workers() if state_of(p) == "T"), None), "the stream is there", 60)
    dst.kill()
    os.kill(worker, signal.SIGCONT)
    t.assert_failed(src, "the destination failed")
    wait_until(lambda: not src.daemon.workers(), "the source's worker ends")
    t.assert_untouched(src)


migdtest.main()
