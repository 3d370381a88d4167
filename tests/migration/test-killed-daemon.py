#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""kill -9 of a daemon during a migration: the guest runs on, and the next daemon finds guests, worker and outcome."""

import signal

import migdtest
from migd_process import wait_until


def restart(t, daemon):
    daemon.kill(signal.SIGKILL)
    daemon.drop_session()
    return t.daemon(daemon.name)


def successor(vmm, daemon):
    vmm.daemon = daemon
    vmm.wait_attached()


def disturb(t, which):
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    victim = src if which == "source" else dst
    worker, = victim.daemon.workers()
    beat = src.mem.heartbeat
    daemon = restart(t, victim.daemon)
    successor(victim, daemon)
    t.check(src.mem.heartbeat > beat, "the guest went on meanwhile")
    t.assert_runs(src)
    info = victim.migration()
    t.check(info.get("status") in ("setup", "active", "device", *migdtest.ENDED),
            f"the successor knows the migration: {info}")
    t.speed_up(src)
    info = t.wait_end(src)
    other = t.wait_end(dst)
    if info["status"] == "completed":
        t.check(other["status"] == "completed", f"both sides agree: {other}")
        t.assert_only_runs(dst, src)
        t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    else:
        t.check(info.get("error-desc"), f"rolled back with a text: {info}")
        t.assert_only_runs(src, dst)
    wait_until(lambda: not migdtest.migd_process.is_running(worker), "the worker ends once its outcome is recorded")
    return info


def test_of_the_source(t):
    disturb(t, "source")


def test_of_the_destination(t):
    disturb(t, "destination")


def test_adopted_migration_goes_on(t):
    """Without systemd, too: the worker is found by its socket in the state directory."""
    info = disturb(t, "source")
    t.check(info["status"] == "completed", f"the orphaned worker was adopted and finished: {info}")


def test_no_daemon_until_the_end(t):
    """The worker finishes on its own, and tells the next daemon what came of it."""
    src, dst = t.pair(working_set="1M")
    t.fill(src)
    src.set(max_bandwidth=8 << 20, downtime_limit=2000)
    t.start(src, dst)
    t.wait_active(src)
    src.daemon.kill(signal.SIGKILL)
    src.daemon.drop_session()
    info = t.wait_end(dst)
    t.check(info["status"] == "completed", f"it completed without the source's daemon: {info}")
    t.assert_only_runs(dst, src)
    daemon = t.daemon(src.daemon.name)
    src.daemon = daemon
    info = wait_until(lambda: src.migration() if daemon.guest(src.name) else None, "the next daemon knows the guest")
    t.check(wait_until(lambda: src.status() in migdtest.ENDED and src.status(), "the outcome is known") == "completed",
            f"the next daemon knows the outcome: {src.migration()}")


def test_idle_daemon_restarts(t):
    src, _ = t.pair()
    before = src.daemon.guest(src.name)
    daemon = restart(t, src.daemon)
    successor(src, daemon)
    t.assert_runs(src)
    after = daemon.guest(src.name)
    t.check(after["uuid"] == before["uuid"] and after["run-state"] == "running", f"the same guest: {after}")


def test_asked_to_end(t):
    src, _ = t.pair()
    t.check(src.daemon.kill(signal.SIGTERM) == 0, "SIGTERM ends it well")
    src.daemon.drop_session()
    t.assert_runs(src)
    successor(src, t.daemon("a"))
    t.assert_untouched(src)


migdtest.main()
