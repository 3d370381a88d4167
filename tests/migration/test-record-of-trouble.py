#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""The record of a migration that met with trouble: peers and links that vanish, stalls, post-copy that is recovered."""

import os
import signal
import time

import migdtest
from migd_postcopy import enter_postcopy, finish, prepare, wait_status
from migd_process import wait_until
from migd_record import events, record_of, statuses


def test_peer_gone(t):
    src, dst = t.pair(working_set="8M")
    src.set(reconnect_timeout=1000)
    t.make_slow(src, 4 << 20)
    t.start(src, dst)
    t.wait_active(src)
    time.sleep(0.2)
    for worker in dst.daemon.workers():
        os.kill(worker, signal.SIGKILL)
    dst.kill()
    text = t.assert_failed(src)
    r = record_of(src)
    t.check(r["status"] == "failed" and r["error-desc"] == text, f"{r['error-desc']} is not {text}")
    there = record_of(dst)
    t.check(there["status"] == "failed" and any("signal 9" in e for e in events(there, "worker")), f"{there}")


def test_lost_link(t):
    src, dst = t.pair(working_set="4M")
    t.fill(src, 32 << 20, 24 << 20)
    link = t.proxy(int(t.listen(dst).rpartition(":")[2]))
    src.set(max_bandwidth=16 << 20, reconnect_timeout=20000)
    src.command("migrate", {"uri": link.uri})
    t.wait_active(src)
    link.refuse = True
    link.cut()
    wait_until(lambda: events(record_of(src), "reconnect"), "it tries again")
    time.sleep(0.8)
    link.refuse = False
    t.check(t.wait_end(src)["status"] == "completed", "it goes on")
    r = record_of(src)
    attempts = events(r, "reconnect")
    t.check(attempts[0].startswith("attempt 1: ") and len(attempts) >= 2, f"{r['events']}")
    t.wait_end(dst)
    t.check(any(e.startswith("waiting for the source") for e in events(record_of(dst), "reconnect")), "it noticed")


def test_stall(t):
    """The destination does not read for a while: what the sockets hold goes on its way, then nothing."""
    src, dst = t.pair(memory="128M", working_set="1M")
    t.fill(src, 64 << 20, 48 << 20)
    src.set(max_bandwidth=64 << 20)
    t.start(src, dst)
    t.wait_active(src, sent_bytes=4 << 20)
    worker, = dst.daemon.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        time.sleep(3)
    finally:
        os.kill(worker, signal.SIGCONT)
    t.check(t.wait_end(src)["status"] == "completed" and t.wait_end(dst)["status"] == "completed", "it goes on")
    for vmm in src, dst:
        stalls = record_of(vmm)["stalls"]
        t.check(any(500_000 <= s["duration"] <= 10_000_000 for s in stalls), f"{vmm.label}: nothing moved for long: {stalls}")


def test_a_limit_is_no_stall(t):
    src, dst = t.pair(working_set="1M")
    t.fill(src)
    t.make_slow(src, 256 << 10)
    t.start(src, dst)
    t.wait_active(src)
    time.sleep(2)
    r = record_of(src)
    t.check(len(r["samples"]) >= 10 and not r["stalls"], f"it waits for its limit only: {r['stalls']}")
    src.command("migrate_cancel")
    t.wait_end(src)


def test_postcopy_recovered(t):
    src, dst, link, uri = prepare(t)
    enter_postcopy(t, src, dst, uri)
    before = len(link.clients)
    link.cut()
    wait_until(lambda: len(link.clients) > before, "the source connects again")
    wait_status(t, src, "postcopy-active")
    finish(t, src, dst)
    r, there = record_of(src), record_of(dst)
    t.check(statuses(r) == ["setup", "active", "device", "postcopy-device", "postcopy-active", "postcopy-paused",
                            "postcopy-recover-setup", "postcopy-recover", "postcopy-active", "completed"] or
            statuses(r)[-6:] == ["postcopy-active", "postcopy-paused", "postcopy-recover-setup", "postcopy-recover",
                                 "postcopy-active", "completed"], f"{r['phases']}")
    t.check("migrate-start-postcopy" in events(r, "command"), f"{r['events']}")
    t.check(r["blackout"]["total"] == r["downtime"] > 0 and "blackout" in there, f"{r['blackout']}")
    t.check(there["samples"][-1]["faults"] == dst.migration()["postcopy"]["faults"], f"{there['samples'][-1]}")
    sent = sum(p["bytes"] for p in r["passes"])
    t.check(0 <= r["transferred"] - sent < 1 << 20, f"post-copy's is the last pass: {r['passes']} of {r['transferred']}")


migdtest.main()
