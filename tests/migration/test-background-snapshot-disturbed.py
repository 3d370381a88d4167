#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""Whatever becomes of a background snapshot, the guest runs on at once, and no file looks whole that is not."""

import os
import signal

import migdtest
from migd_mount import small_disk
from migd_process import wait_until
from migd_snapshot import begin, files_of, finish, guest, is_still, restore, stuck, wait_passes


def test_cancelled(t):
    src = guest(t)
    t.assert_cancels_in_time(src, lambda: stuck(t, src))
    wait_until(lambda: not files_of(t.dir), "what was written is removed")
    wait_passes(t, src, 2)


def test_killed_worker(t):
    # More than the worker keeps copies of: whenever it is stopped, there are pages that are not copied yet.
    src = guest(t, memory="128M", working_set="96M")
    t.make_slow(src)
    begin(t, src)
    t.wait_active(src)
    worker, = src.daemon.workers()
    os.kill(worker, signal.SIGSTOP)
    # Sooner or later it writes to one of them.
    wait_until(lambda: is_still(src), "the guest waits", 60)
    os.kill(worker, signal.SIGKILL)
    wait_passes(t, src, 2)
    t.assert_failed(src, "worker")
    t.assert_untouched(src)
    wait_until(lambda: not files_of(t.dir), "no half file is left")
    t.speed_up(src)
    begin(t, src)
    finish(t, src)
    wait_passes(t, restore(t, f"file:{t.dir}/guest"), 3)


def test_full_queue(t):
    """More is written to than waits for a slow file: the guest waits, for its turn or for the end."""
    src = guest(t, memory="128M", working_set="96M")

    def blocked():
        t.make_slow(src)
        begin(t, src)
        t.wait_active(src)
        wait_until(lambda: is_still(src), "the guest waits", 60)
    t.assert_cancels_in_time(src, blocked)
    wait_passes(t, src, 1)
    blocked()
    t.speed_up(src)
    finish(t, src)
    wait_passes(t, src, 1)
    wait_passes(t, restore(t, f"file:{t.dir}/guest"), 2)


def test_killed_vmm(t):
    """It takes nothing with it that belongs to the image."""
    src = guest(t)
    stuck(t, src)
    src.kill()
    t.speed_up(src)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source says {info}")
    wait_passes(t, restore(t, f"file:{t.dir}/guest"), 3)


def test_killed_daemon(t):
    src = guest(t)
    stuck(t, src)
    src.daemon.kill()
    wait_passes(t, src, 1)
    src.daemon = t.a = t.daemon("a")
    src.wait_attached()
    t.wait_active(src)
    t.speed_up(src)
    finish(t, src)
    wait_until(lambda: files_of(t.dir) == ["guest"], "the file has its name")
    wait_passes(t, restore(t, f"file:{t.dir}/guest"), 3)


def test_full_disk(t):
    disk = small_disk(t, "2M")
    src = guest(t)
    for uri in f"file:{disk}/guest", f"file:{disk}/guest,offset=4096":
        begin(t, src, uri)
        t.assert_failed(src, "No space left")
        wait_passes(t, src, 2)
        t.assert_untouched(src)
        if "offset" in uri:
            with open(os.path.join(disk, "guest"), "rb") as f:
                f.seek(4096)
                t.check(f.read(8) == bytes(8), "a torn file is no stream")
            os.unlink(os.path.join(disk, "guest"))
        else:
            wait_until(lambda: not os.listdir(disk), f"no half file is left: {os.listdir(disk)}")


migdtest.main()
