#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""What can fail while a guest runs whose memory is still read from a file."""

import os
import shutil
import signal
import time

import migd_reports
import migdtest
from migd_lazy import finish, missing, restore, saved, wait_status
from migd_mapped import Mapped
from migd_process import wait_until

# A VMM that ends while its vCPU waits for a page (test_ended_while_it_waits) joins no thread.
os.environ["TSAN_OPTIONS"] = os.environ.get("TSAN_OPTIONS", "") + ":report_thread_leaks=0"


def cut(t, dst):
    """A guest that waits for what its file does not have any more: where it was cut off, and what was there."""
    with open(t.file, "rb") as f:
        f.seek(Mapped(t.file).pages_offset + (6 << 20))
        at, rest = f.tell(), f.read()
    restore(t, dst)
    wait_status(t, dst, "postcopy-active")
    os.truncate(t.file, at)
    return at, rest


def wait_stuck(t, dst):
    """Until the guest waits for a page that does not come."""
    beats = [-1]

    def stuck():
        time.sleep(0.1)
        beats.append(dst.mem.heartbeat)
        return beats[-1] == beats[-2]
    wait_until(stuck, "the guest waits", alive=[dst])


def test_ended_while_it_waits(t):
    if migd_reports.VALGRIND:
        raise migdtest.Skip("valgrind ends a process thread by thread, and one that waits for a page hears no signal")
    dst = saved(t)
    cut(t, dst)
    wait_stuck(t, dst)
    dst.signal(signal.SIGTERM)
    dst.wait_exit()
    t.assert_failed(dst, "VMM")


def test_file_that_cannot_be_read(t):
    """The guest waits, and says so; it goes on when the file is whole again."""
    dst = saved(t)
    at, rest = cut(t, dst)
    info = wait_status(t, dst, "postcopy-paused")
    for word in t.file, "offset", "it ends before", "block 'ram'", "tried again":
        t.check(word in info["error-desc"], f"{info['error-desc']!r} has no {word!r}")
    t.assert_refused(dst, "migrate-recover", {"uri": f"file:{t.file}"}, "goes on by itself")
    time.sleep(1.5)  # what is tried again fails again
    t.check(dst.status() == "postcopy-paused", f"{dst.status()}")
    with open(t.file, "r+b") as f:
        f.seek(at)
        f.write(rest)
    info = finish(t, dst)
    t.check("error-desc" not in info and info["postcopy"]["recoveries"] >= 1, f"{info}")


def test_file_that_cannot_be_read_from_the_start(t):
    """Nothing runs of it, if that is seen before."""
    dst = saved(t)
    at = Mapped(t.file).end
    with open(t.file, "r+b") as f:
        f.seek(at + 4096)
        f.truncate()
    restore(t, dst)
    t.assert_failed(dst, "offset")
    t.assert_stopped(dst)


def test_killed_worker(t):
    dst = saved(t)
    restore(t, dst)
    wait_status(t, dst, "postcopy-active")
    for _ in range(2):
        t.assert_runs(dst)
        worker = dst.worker()
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: dst.daemon.workers() not in ([], [worker]), "a successor", alive=[dst.daemon])  # noqa: B023
        wait_status(t, dst, "postcopy-active")
    t.check(missing(dst) > 0, "pages are missing yet")
    finish(t, dst)


def test_killed_daemon_and_worker(t):
    dst = saved(t)
    restore(t, dst)
    wait_status(t, dst, "postcopy-active")
    worker = dst.worker()
    dst.daemon.kill()
    os.kill(worker, signal.SIGKILL)
    dst.daemon = t.daemon("b")
    dst.wait_attached()
    wait_status(t, dst, "postcopy-active")
    t.assert_runs(dst)
    finish(t, dst)


def test_another_file_in_its_place(t):
    """No page of it gets into the guest, which waits until the right one is back."""
    dst = saved(t)
    restore(t, dst)
    wait_status(t, dst, "postcopy-active")
    worker = dst.worker()
    dst.daemon.kill()
    os.rename(t.file, t.file + ".right")
    shutil.copyfile(t.file + ".right", t.file)
    os.kill(worker, signal.SIGKILL)
    dst.daemon = t.daemon("b")
    dst.wait_attached()
    wait_until(lambda: "not the file any more" in dst.migration().get("error-desc", ""), "it says so", alive=[dst.daemon])
    os.rename(t.file + ".right", t.file)
    os.kill(dst.worker(), signal.SIGKILL)
    wait_status(t, dst, "postcopy-active")
    finish(t, dst)


def test_killed_daemon(t):
    dst = saved(t)
    restore(t, dst)
    wait_status(t, dst, "postcopy-active")
    dst.daemon.kill()
    dst.daemon = t.daemon("b")
    dst.wait_attached()
    wait_status(t, dst, "postcopy-active")
    finish(t, dst)


def test_killed_vmm(t):
    dst = saved(t)
    restore(t, dst)
    wait_status(t, dst, "postcopy-active")
    dst.kill()
    t.assert_failed(dst, "VMM")


migdtest.main()
