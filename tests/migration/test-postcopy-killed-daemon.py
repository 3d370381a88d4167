#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""kill -9 of daemons in post-copy, without and with their workers: the next daemon knows where things stand, and they go on."""

import os
import signal

import migdtest
from migd_postcopy import enter_postcopy, finish, prepare, wait_status


def restart(t, vmm, worker_too=False):
    workers = vmm.daemon.workers()
    if worker_too:
        os.kill(vmm.daemon.pid, signal.SIGSTOP)  # it is not to see what comes
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
    vmm.daemon.kill(signal.SIGKILL)
    vmm.daemon.drop_session()
    vmm.daemon = t.daemon(vmm.daemon.name)
    vmm.wait_attached()


def disturb(t, pick, worker_too=False):
    src, dst, _, uri = prepare(t, via_proxy=False)
    enter_postcopy(t, src, dst, uri)
    for vmm in pick(src, dst):
        restart(t, vmm, worker_too)
    for vmm in src, dst:
        wait_status(t, vmm, "postcopy-active")
    t.assert_only_runs(dst, src)
    t.assert_refused(src, "migrate_cancel", {}, "post-copy")
    finish(t, src, dst)


def test_of_the_source(t):
    disturb(t, lambda src, dst: [src])


def test_of_the_destination(t):
    disturb(t, lambda src, dst: [dst])


def test_of_both_with_their_workers(t):
    disturb(t, lambda src, dst: [src, dst], worker_too=True)


migdtest.main()
