#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""The target's worker dies in the midst of placing a page, at each of the steps: a successor goes on, and the guest loses nothing."""

import migdtest
from migd_postcopy import enter_postcopy, finish, prepare, states, wait_status
from migd_process import wait_until

DIED = "died (signal 9"


def die_at(t, point, *capabilities, rate=1 << 20):
    src, dst, _, uri = prepare(t, *capabilities, via_proxy=False, dst_env={"MIGD_FAULT": f"{point}=kill"})
    enter_postcopy(t, src, dst, uri, rate=rate)
    wait_until(lambda: DIED in dst.daemon.log_text(), f"a worker dies at {point}", 60, alive=[src, dst])
    for vmm in src, dst:
        wait_status(t, vmm, "postcopy-active")
    t.assert_only_runs(dst, src)
    # It gets on, while most of its memory is missing.
    t.assert_memory_verified(dst, rounds=64)
    finish(t, src, dst)
    t.check(dst.daemon.log_text().count(DIED) == 1, "one worker died, and its successor did not")
    t.check("postcopy-recover" in states(dst), f"the destination's states: {states(dst)}")


def urgent(t, point):
    """With a background of a page a second, what comes is what is waited for."""
    die_at(t, f"{point}:50", "postcopy-preempt", rate=4096)


def test_before_it_is_received(t):
    die_at(t, "postcopy.page-placed:20")


def test_before_it_is_shown(t):
    die_at(t, "postcopy.page-received:20")


def test_before_nobody_waits_any_more(t):
    die_at(t, "postcopy.page-shown:20")


def test_urgent_before_it_is_received(t):
    urgent(t, "postcopy.page-placed")


def test_urgent_before_it_is_shown(t):
    urgent(t, "postcopy.page-received")


def test_urgent_before_nobody_waits_any_more(t):
    urgent(t, "postcopy.page-shown")


migdtest.main()
