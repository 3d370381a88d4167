#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""kill -9 of VMMs in post-copy: what is lost with them, what is not, and who says so."""

import os
import signal

import migdtest
from migd_postcopy import enter_postcopy, prepare, wait_status
from migd_process import wait_until


def test_vmm_of_the_source(t):
    """Its memory is the worker's, too."""
    src, dst, _, uri = prepare(t, via_proxy=False)
    enter_postcopy(t, src, dst, uri, rate=4 << 20)
    src.kill()
    info = t.wait_end(dst)
    t.check(info["status"] == "completed", f"all of it arrives: {info}")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    t.check(dst.mem.map[32 << 20:40 << 20] == b"x" * (8 << 20), "what was filled in arrived")
    wait_until(lambda: not src.daemon.workers(), "the source's worker ends")


def test_vmm_and_worker_of_the_source(t):
    """What was not sent is lost, and both sides say so."""
    src, dst, _, uri = prepare(t, via_proxy=False)
    enter_postcopy(t, src, dst, uri)
    src.kill()
    worker, = src.daemon.workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: "what was not sent is lost" in src.daemon.log_text(), "the source says what is lost")
    info = wait_status(t, dst, "postcopy-paused")
    t.check(info["postcopy"]["missing"] > 0 and info["error-desc"], f"the destination says what is missing: {info}")


def test_vmm_of_the_destination(t):
    """The guest is gone; the source's operator may let go of it."""
    src, dst, _, uri = prepare(t, via_proxy=False)
    enter_postcopy(t, src, dst, uri)
    dst.kill()
    text = wait_status(t, src, "postcopy-paused")["error-desc"]
    t.check("VMM ended" in text, f"the source says why: {text}")
    t.assert_stopped(src)
    src.command("migrate-resolve", {"outcome": "discard", "fenced": True})
    t.wait_end(src)
    t.assert_stopped(src)


migdtest.main()
