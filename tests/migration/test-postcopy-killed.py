#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""kill -9 of workers in post-copy: successors go on where the dead ones were, and the guest loses nothing."""

import os
import signal

import migdtest
from migd_postcopy import enter_postcopy, finish, prepare, states, wait_status
from migd_process import wait_until


def kill_workers(*sides):
    """Whatever their migrations are at; waits until successors are there."""
    for vmm in sides:
        worker, = vmm.daemon.workers()
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda v=vmm, w=worker: w not in v.daemon.workers() and v.daemon.workers(), "a successor starts", 30)


def meet_again(t, src, dst):
    for vmm in src, dst:
        wait_status(t, vmm, "postcopy-active")
    t.assert_only_runs(dst, src)


def test_worker_of_the_source(t):
    src, dst, _, uri = prepare(t, via_proxy=False)
    enter_postcopy(t, src, dst, uri)
    for _ in range(2):
        kill_workers(src)
        meet_again(t, src, dst)
    finish(t, src, dst)
    t.check(states(src)[-5:] == ["postcopy-paused", "postcopy-recover-setup", "postcopy-recover", "postcopy-active",
                                 "completed"], f"the source's states: {states(src)}")


def test_worker_of_the_destination(t):
    src, dst, _, uri = prepare(t, via_proxy=False)
    enter_postcopy(t, src, dst, uri)
    for _ in range(2):
        kill_workers(dst)
        meet_again(t, src, dst)
    finish(t, src, dst)
    t.check(states(dst)[-4:] == ["postcopy-paused", "postcopy-recover", "postcopy-active", "completed"],
            f"the destination's states: {states(dst)}")


def test_both_workers(t):
    src, dst, _, uri = prepare(t, "postcopy-preempt", via_proxy=False)
    enter_postcopy(t, src, dst, uri)
    kill_workers(src, dst)
    meet_again(t, src, dst)
    finish(t, src, dst)


migdtest.main()
