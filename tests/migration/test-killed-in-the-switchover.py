#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""kill -9 of a worker between the guest's pause and RELEASE: nobody has to help, and neither side waits for the other for long."""

import os
import signal

import migdtest
from migd_process import is_running, wait_until

DIED = "died (signal 9"
LONGER = 60000    # ms: reconnect-timeout, which must not be what ends it


def check_over(t, src, dst):
    """The guest stays at the source, both sides know, and nobody is left."""
    t.assert_failed(src)
    t.assert_failed(dst)
    t.check(not dst.migration()["handover"]["in-doubt"], f"the target is not in doubt: {dst.migration()}")
    t.assert_only_runs(src, dst)
    for daemon in src.daemon, dst.daemon:
        wait_until(lambda d=daemon: not d.workers(), f"no worker is left at {daemon.name}", 30)


def go_elsewhere(t, src):
    t.migrate(src, t.incoming(t.daemon("c"), t.options))


def die_at(t, side, point, **options):
    """The worker of a side dies there."""
    src, dst = t.pair(working_set="1M", **{f"{side}_env": {"MIGD_FAULT": f"{point}:1=kill"}}, **options)
    for vmm in src, dst:
        vmm.set(reconnect_timeout=LONGER)
    t.start(src, dst)
    victim = src if side == "src" else dst
    wait_until(lambda: DIED in victim.daemon.log_text(), f"a worker dies at {point}", 60, alive=[src.daemon, dst.daemon])
    return src, dst


# Who dies, and where.
DEATHS = {
    "test_source_when_the_guest_is_paused": ("src", "handover.paused"),
    "test_source_when_all_is_sent": ("src", "stream.ended"),
    "test_source_when_the_target_is_loaded": ("src", "handover.loaded-received"),
    "test_source_just_before_release": ("src", "handover.releasing"),
    "test_source_whose_reports_are_late": ("src", "reports-late,handover.releasing"),
    "test_target_when_the_last_pass_begins": ("dst", "stream.last-pass-received"),
    "test_target_that_loads_the_package": ("dst", "stream.state-received"),
    "test_target_that_loaded_the_devices": ("dst", "attach.state-loaded"),
}


def stop_when_loaded(t):
    """The source's worker, stopped when it knows that the target is loaded."""
    src, dst = t.pair(working_set="1M", src_env={"MIGD_FAULT": "handover.loaded-received:1=stop"})
    t.start(src, dst)
    wait_until(lambda: "fault point handover.loaded-received" in src.daemon.log_text(), "the target is loaded", 60)
    worker, = src.daemon.workers()
    return src, dst, worker


def test_target_that_is_loaded(t):
    src, dst = die_at(t, "dst", "handover.loaded")
    check_over(t, src, dst)
    go_elsewhere(t, src)


def test_source_with_its_daemon(t):
    """The next daemon knows that somebody waits."""
    src, dst, worker = stop_when_loaded(t)
    src.daemon.kill(signal.SIGKILL)
    src.daemon.drop_session()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not is_running(worker), "the worker is gone")
    src.daemon = t.daemon(src.daemon.name)
    src.wait_attached()
    check_over(t, src, dst)
    go_elsewhere(t, src)


def test_target_that_has_gone_for_good(t):
    """Nobody listens where it was: the successor gives up."""
    src, dst, worker = stop_when_loaded(t)
    dst.daemon.kill(signal.SIGKILL)
    for orphan in [p for p in migdtest.migd_process.children(os.getpid()) if migdtest.migd_process.argv0(p) == "migd-worker"]:
        os.kill(orphan, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    t.assert_failed(src)
    t.assert_only_runs(src, dst)
    wait_until(lambda: "could not be told" in src.daemon.log_text(), "the successor says what an operator has to do", 60)
    wait_until(lambda: not src.daemon.workers(), "it ends")


def dies(side, point):
    return lambda t: check_over(t, *die_at(t, side, point))


migdtest.main(tests={**{name: dies(*death) for name, death in DEATHS.items()},
                     **{name: f for name, f in list(globals().items()) if name.startswith("test_")}})
