#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""The network fails in post-copy: the guest runs on at the destination, both sides pause, meet again, and nothing is lost."""

import time

import migdtest
from migd_postcopy import enter_postcopy, finish, prepare, states, wait_status
from migd_process import wait_until


def test_reconnects_by_itself(t):
    src, dst, link, uri = prepare(t)
    enter_postcopy(t, src, dst, uri)
    for _ in range(3):
        before = len(link.clients)
        link.cut()
        wait_until(lambda: len(link.clients) > before, "the source connects again")
        wait_status(t, src, "postcopy-active")
        wait_status(t, dst, "postcopy-active")
        t.assert_only_runs(dst, src)
    finish(t, src, dst)
    again = ["postcopy-paused", "postcopy-recover-setup", "postcopy-recover", "postcopy-active"]
    t.check(states(src)[-13:] == 3 * again + ["completed"], f"the source's states: {states(src)}")
    del again[1]
    t.check(states(dst)[-10:] == 3 * again + ["completed"], f"the destination's states: {states(dst)}")


def test_with_urgent_channel(t):
    src, dst, link, uri = prepare(t, "postcopy-preempt")
    enter_postcopy(t, src, dst, uri)
    for _ in range(2):
        before = len(link.clients)
        link.cut()
        wait_until(lambda: len(link.clients) >= before + 2, "both channels come again")
        wait_status(t, src, "postcopy-active")
        wait_status(t, dst, "postcopy-active")
    finish(t, src, dst)


def test_cut_while_they_agree(t):
    """At each message of the recovery in turn; a connection later it is done."""
    steps = [("out", "hello"), ("out", "cmd-ask"), ("back", "reply-incomplete"), ("out", "cmd-recv-bitmap"),
             ("back", "reply-recv-bitmap"), ("out", "cmd-postcopy-resume"), ("back", "reply-resume-ack"),
             ("out", "end-ram"), ("back", "reply-shut")]
    src, dst, link, uri = prepare(t)
    enter_postcopy(t, src, dst, uri)
    done = []

    def rule(direction, name, _count):
        if steps and (direction, name) == steps[0]:
            done.append(steps.pop(0))
            return "cut-before"
        return None
    link.refuse_after_cut = False
    link.rule = rule
    steps.pop(0)  # the opening's HELLO is no message of post-copy's
    link.cut()
    wait_until(lambda: len(steps) == 2, f"the link is cut at each step: {done}", 60)
    finish(t, src, dst)
    t.check(not steps, f"the link was not cut at {steps}")


def test_reconnects_so_long_and_then_waits(t):
    src, dst, link, uri = prepare(t)
    src.set(postcopy_reconnect_timeout=1000, reconnect_backoff_max=200)
    enter_postcopy(t, src, dst, uri)
    link.cut()
    link.refuse = True
    wait_until(lambda: "postcopy-reconnect-timeout" in src.migration().get("error-desc", ""), "it gives up connecting")
    t.check(src.migration()["status"] == "postcopy-paused", f"nothing is lost: {src.migration()}")
    link.refuse = False
    seen = len(link.clients)
    wait_status(t, dst, "postcopy-paused")
    time.sleep(1)  # five pauses' worth
    t.check(len(link.clients) == seen, "nobody connects any more")
    src.command("migrate", {"uri": uri, "resume": True})
    wait_status(t, src, "postcopy-active")
    finish(t, src, dst)


migdtest.main()
