#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""Capability release-ram: only what the destination has is freed, so that post-copy goes on whatever breaks."""

import time

import migdtest
from migd_postcopy import enter_postcopy_as_is, finish, prepare, succeed_when_freed, wait_freed, wait_status
from migd_process import wait_until


def test_what_did_not_arrive_is_still_here(t):
    runs = []

    def swallow(direction, name, _count):
        if (direction, name) == ("out", "cmd-postcopy-run"):
            runs.append(True)
        return "mute" if runs and name == "ram-record" else None
    src, dst, link, uri = prepare(t, "release-ram", rule=swallow)
    before = src.allocated()
    src.command("stop")  # nobody asks for pages
    enter_postcopy_as_is(t, src, dst, uri, 8 << 20)
    sent = src.migration()["ram"]["postcopy-bytes"]
    wait_until(lambda: src.migration()["ram"]["postcopy-bytes"] > sent + (9 << 20), "much is sent", alive=[src.daemon])
    t.check(src.allocated() >= before - (1 << 20), f"{before - src.allocated()} bytes were freed that nobody has")
    link.heal()
    link.cut()
    for side in src, dst:
        wait_status(t, side, "postcopy-active")
    wait_until(lambda: src.allocated() < before - (2 << 20), "what arrives is freed", alive=[src.daemon])
    dst.command("cont")
    finish(t, src, dst)


def test_nothing_is_lost_with_a_silent_connection(t):
    """A page a second: between two of them nothing is on its way."""
    src, dst, link, uri = prepare(t, "release-ram")
    before = src.allocated()
    src.command("stop")
    enter_postcopy_as_is(t, src, dst, uri, 8 << 20)
    wait_freed(src, before)
    src.set(max_postcopy_bandwidth=4096)
    for _ in range(2):
        passed = None
        while passed != link.passed["out"]:
            passed = link.passed["out"]
            time.sleep(0.2)
        src.command("migrate-pause")
        wait_status(t, src, "postcopy-paused")
        wait_status(t, dst, "postcopy-paused")
        src.command("migrate", {"uri": link.uri, "resume": True})
        for side in src, dst:
            wait_status(t, side, "postcopy-active")
    dst.command("cont")
    finish(t, src, dst)


def refuse_to_run(t):
    """The guest cannot be had back here when something was freed."""
    src, dst, _, uri = prepare(t, "release-ram", via_proxy=False)
    before = src.allocated()
    enter_postcopy_as_is(t, src, dst, uri, 8 << 20)
    wait_freed(src, before)
    src.command("migrate-pause")
    wait_status(t, src, "postcopy-paused")
    src.command("migrate-resolve", {"outcome": "run", "fenced": True})
    wait_until(lambda: "release-ram freed what was sent: migrate with resume" in src.migration().get("error-desc", ""),
               "it says why not, and what to do", alive=[src.daemon])
    t.assert_stopped(src)
    return src, dst, uri


def test_the_operator_goes_on(t):
    src, dst, uri = refuse_to_run(t)
    src.command("migrate", {"uri": uri, "resume": True})
    wait_status(t, src, "postcopy-active")
    finish(t, src, dst)


def test_the_operator_gives_it_up(t):
    src, dst, _ = refuse_to_run(t)
    dst.kill()
    t.assert_refused(src, "migrate-resolve", {"outcome": "discard"}, "fenced")
    src.command("migrate-resolve", {"outcome": "discard", "fenced": True})
    t.wait_end(src)
    t.assert_stopped(src)


def test_the_worker_is_killed(t):
    succeed_when_freed(t)


def test_the_worker_of_a_stopped_guest_is_killed(t):
    succeed_when_freed(t, runs=False)


def test_the_worker_dies_when_all_was_sent(t):
    """Its successor does not know what was freed, and need not."""
    src, dst, _, uri = prepare(t, "release-ram", via_proxy=False, src_env={"MIGD_FAULT": "postcopy.end-sent=kill"})
    t.make_slow(src)
    src.command("migrate", {"uri": uri})
    t.wait_active(src)
    src.command("migrate-start-postcopy")
    wait_until(lambda: "died (signal 9" in src.daemon.log_text(), "the worker dies", 60, alive=[src, dst])
    finish(t, src, dst)


migdtest.main()
