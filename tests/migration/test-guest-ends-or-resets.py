#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A guest that resets, powers off, crashes or sleeps while it migrates is the same guest afterwards, or none."""

import signal

import migdtest
from migd_guestmem import PASSED
from migd_process import SLOW, wait_until


def begin(t, payload, **args):
    """A slow migration of a guest that will do what it does in a while."""
    src, dst = t.pair(payload=payload, started=False, **args)
    # Something to send, so that it takes its time.
    t.fill(src, length=28 << 20)
    t.make_slow(src, (2 << 20) // SLOW)
    t.start(src, dst)
    t.wait_active(src)
    return src, dst


def test_reset_while_migrating(t):
    src, dst = begin(t, "reset", args={0: 4, 1: 400})
    wait_until(lambda: src.mem.detail(0) >= 1, "the guest resets once", alive=[src])
    t.speed_up(src)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"a reset does not hinder the migration: {info}")
    wait_until(lambda: dst.mem.status == PASSED, "the guest resets as often as it wanted", alive=[dst])
    t.guest_ok(dst)
    t.check(dst.mem.detail(0) == 4, f"4 resets, not {dst.mem.detail(0)}")


def test_power_off_while_migrating(t):
    src, dst = begin(t, "poweroff", args={0: 2500 * SLOW})
    t.check(src.wait_exit() == 0, "the guest powers off where it is")
    t.assert_failed(dst)
    t.assert_stopped(dst)


def test_triple_fault_while_migrating(t):
    """The VMM resets the guest, as a PC would."""
    src, dst = begin(t, "panic", args={0: 1500 * SLOW})
    wait_until(lambda: "triple fault" in src.log_text(), "the guest crashes", alive=[src])
    t.speed_up(src)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"a crash does not hinder the migration: {info}")
    t.assert_only_runs(dst, src)


def test_panic_while_migrating(t):
    """The guest says that it crashed: it stays where it is, for whoever wants to look at it."""
    src, dst = begin(t, "panic", args={0: 1500 * SLOW, 1: 3})
    info = t.wait_end(src)
    t.check(info["status"] == "failed" and "crashed" in info["error-desc"], f"the migration fails and says why: {info}")
    t.check(src.run_state() == "guest-panicked", f"the guest is {src.run_state()}")
    t.assert_failed(dst)
    t.assert_stopped(src)
    t.assert_stopped(dst)
    src.daemon.qmp.wait_event("GUEST_PANICKED")
    t.assert_refused(src, "cont", {})


def test_exit_while_migrating(t):
    """The guest ends its VMM with a status of its own."""
    src, dst = begin(t, "panic", args={0: 2500 * SLOW, 1: 1, 2: 42})
    t.check(src.wait_exit() == 42, "the VMM ends with the guest's status")
    t.assert_failed(dst)
    t.assert_stopped(dst)


def test_suspended_guest_arrives_suspended(t):
    src, dst = t.pair(payload="suspend", started=False, args={0: 200})
    wait_until(lambda: src.run_state() == "suspended", "the guest goes to sleep")
    t.migrate(src, dst)
    t.check(dst.run_state() == "suspended", f"it sleeps on: {dst.run_state()}")
    t.assert_stopped(dst)
    dst.signal(signal.SIGUSR1)
    t.assert_runs(dst)


def test_wakes_while_migrating(t):
    src, dst = t.pair(payload="suspend", started=False, args={0: 300})
    t.fill(src, length=28 << 20)
    wait_until(lambda: src.run_state() == "suspended", "the guest goes to sleep")
    t.make_slow(src, 2 << 20)
    t.start(src, dst)
    t.wait_active(src)
    src.signal(signal.SIGUSR1)
    t.assert_runs(src)
    t.speed_up(src)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"waking does not hinder the migration: {info}")
    wait_until(lambda: dst.run_state() == "suspended", "it goes to sleep again on the other side")
    t.guest_ok(dst)


migdtest.main()
