#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""A guest from a mapped-ram file runs before its memory was read."""

import os
import signal

import migdtest
from migd_lazy import capabilities, finish, missing, need_userfaultfd, restore, save, saved, wait_status
from migd_process import wait_until


def test_runs_before_its_memory_was_read(t):
    dst = saved(t)
    restore(t, dst)
    wait_status(t, dst, "postcopy-active")
    t.assert_runs(dst)
    t.assert_memory_verified(dst, rounds=8)
    t.check(missing(dst) > 0, "it did so with pages missing")
    t.check(dst.run_state() == "running", f"{dst.run_state()}")
    t.assert_refused(dst, "migrate_cancel", {}, "runs")
    t.assert_refused(dst, "migrate-pause", {}, "no connection")
    t.assert_refused(dst, "migrate", {"uri": f"file:{t.dir}/again"}, "migration")
    info = finish(t, dst)
    t.check(info["postcopy"]["missing"] == 0 and info["postcopy"]["faults"] > 0, f"{info}")


def test_goes_on_by_itself(t):
    """Nobody asks for most of the memory; without a limit all comes. And the guest can be saved again."""
    dst = saved(t)
    restore(t, dst, limit=0)
    finish(t, dst)
    os.unlink(t.file)
    save(t, dst, t.uri)


def test_file_of_several_channels(t):
    dst = saved(t, names=("mapped-ram", "multifd"))
    restore(t, dst)
    wait_status(t, dst, "postcopy-active")
    t.assert_memory_verified(dst, rounds=8)
    finish(t, dst)


def test_two_vcpus(t):
    dst = saved(t, cpus=2)
    restore(t, dst)
    wait_status(t, dst, "postcopy-active")
    t.assert_runs(dst)
    finish(t, dst)


def test_at_an_offset(t):
    dst = saved(t, at=",offset=8192")
    restore(t, dst)
    wait_status(t, dst, "postcopy-active")
    first = dst.worker()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: [w for w in dst.daemon.workers() if w != first], "another worker reads the file")
    finish(t, dst)


def test_stopped_guest_stays_stopped(t):
    dst = saved(t, stopped=True)
    restore(t, dst)
    wait_status(t, dst, "postcopy-active")
    t.check(dst.run_state() == "paused", f"{dst.run_state()}")
    dst.set(max_postcopy_bandwidth=0)
    t.wait_end(dst)
    t.assert_stopped(dst)
    dst.command("cont")
    finish(t, dst)


def test_shared_memory(t):
    """Nothing is missing of memory that stays where it is."""
    need_userfaultfd()
    shared = {"shared_memory": os.path.join(t.shm, "shared.ram")}
    src, dst = t.pair(memory="64M", payload="idle", dst_changes=shared, **shared)
    capabilities(["mapped-ram", "x-ignore-shared"], src, dst)
    src.command("stop")
    save(t, src, f"file:{t.dir}/guest")
    dst.command("migrate-incoming", {"uri": f"file:{t.dir}/guest", "lazy": True, "exit-on-error": False})
    t.check(t.wait_end(dst)["status"] == "completed", f"{dst.migration()}")
    dst.command("cont")
    t.assert_runs(dst)


def test_events(t):
    dst = saved(t)
    capabilities(["events"], dst)
    restore(t, dst)
    wait_status(t, dst, "postcopy-active")
    finish(t, dst)
    dst.daemon.qmp.poll_events(0.3)
    names = [e.data.get("status", e.name) for e in dst.daemon.qmp.events if e.name in ("MIGRATION", "RESUME")]
    t.check([n for n in names if n != "RESUME"] ==
            ["setup", "active", "postcopy-device", "postcopy-active", "completed"], f"the destination said {names}")
    t.check("RESUME" in names[:-1], f"it ran before the end: {names}")


def test_stopped_meanwhile(t):
    """Whether a vCPU that waits for a page can be stopped is the host's; afterwards it can."""
    dst = saved(t)
    restore(t, dst)
    wait_status(t, dst, "postcopy-active")
    try:
        dst.command("stop")
        dst.command("cont")
    except migdtest.QmpError as e:
        t.check("waits for a page" in e.desc, e.desc)
    finish(t, dst)
    dst.command("stop")
    t.assert_stopped(dst)


def test_refused(t):
    need_userfaultfd()
    src, dst = t.pair(memory="64M", payload="idle")
    lazy = {"lazy": True, "exit-on-error": False}
    t.assert_refused(dst, "migrate-incoming", {"uri": "tcp:127.0.0.1:0", **lazy}, "for files", "post-copy")
    t.assert_refused(dst, "migrate-incoming", {"uri": f"file:{t.dir}/guest", **lazy}, "mapped-ram")
    capabilities(["mapped-ram"], dst)
    save(t, src, f"file:{t.dir}/guest")
    dst.command("migrate-incoming", {"uri": f"file:{t.dir}/guest", **lazy})
    t.assert_failed(dst, "mapped-ram")


migdtest.main()
