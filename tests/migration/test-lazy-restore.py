#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""A guest from a mapped-ram file runs before its memory was read: what it sees, and what happens when something fails meanwhile."""

import os
import shutil
import signal
import time

import migdtest
from migd_mapped import Mapped
from migd_process import wait_until

SLOWLY = 2 << 20  # bytes/s of what nobody waits for
FILLED = slice(64 << 20, 88 << 20)  # memory that the guest does not look at


def capabilities(names, *sides):
    for side in sides:
        side.command("migrate-set-capabilities", {"capabilities": [{"capability": n, "state": True} for n in names]})


def need_userfaultfd():
    if not os.access("/dev/userfaultfd", os.R_OK | os.W_OK):
        raise migdtest.Skip("/dev/userfaultfd cannot be opened")


def save(t, src, path):
    src.command("migrate", {"uri": f"file:{path}"})
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source says {info}")


def saved(t, names=("mapped-ram",), **options):
    """A guest that is in a file, with all of its working set and more: a VMM that waits for it."""
    need_userfaultfd()
    src, dst = t.pair(memory="96M", working_set="8M", **options)
    t.pattern = os.urandom(1 << 20) * (FILLED.stop - FILLED.start >> 20)
    src.mem.map[FILLED] = t.pattern
    t.file = f"{t.dir}/guest"
    capabilities(names, src, dst)
    t.assert_memory_verified(src, rounds=src.mem.detail(1))
    save(t, src, t.file)
    return dst


def restore(t, dst, limit=SLOWLY):
    dst.set(max_postcopy_bandwidth=limit)
    dst.command("migrate-incoming", {"uri": f"file:{t.file}", "lazy": True, "exit-on-error": False})


def wait_status(t, dst, status):
    def there():
        info = dst.migration()
        if info.get("status") in migdtest.ENDED and info["status"] != status:
            raise AssertionError(f"it ended before it was {status}: {info}")
        return info if info.get("status") == status else None
    return wait_until(there, f"status {status}", alive=[dst.daemon])


def missing(dst):
    return dst.migration()["postcopy"]["missing"]


def finish(t, dst):
    dst.set(max_postcopy_bandwidth=0)
    info = t.wait_end(dst)
    t.check(info["status"] == "completed", f"the destination says {info}")
    t.check(dst.mem.map[FILLED] == t.pattern, "what it had in memory is there")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    return info


def test_runs_before_its_memory_was_read(t):
    dst = saved(t)
    restore(t, dst)
    wait_status(t, dst, "postcopy-active")
    t.assert_runs(dst)
    t.assert_memory_verified(dst, rounds=8)
    t.check(missing(dst) > 0, "it did so with pages missing")
    t.check(dst.run_state() == "running", f"{dst.run_state()}")
    info = finish(t, dst)
    t.check(info["postcopy"]["missing"] == 0 and info["postcopy"]["faults"] > 0, f"{info}")


def test_goes_on_by_itself(t):
    """Nobody asks for most of the memory; without a limit all comes. And the guest can be saved again."""
    dst = saved(t)
    restore(t, dst, limit=0)
    finish(t, dst)
    os.unlink(t.file)
    save(t, dst, t.file)


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


def test_file_that_cannot_be_read(t):
    """The guest waits, and says so; it goes on when the file is whole again."""
    dst = saved(t)
    with open(t.file, "rb") as f:
        f.seek(Mapped(t.file).pages_offset + (6 << 20))
        at, rest = f.tell(), f.read()
    restore(t, dst)
    wait_status(t, dst, "postcopy-active")
    os.truncate(t.file, at)
    info = wait_status(t, dst, "postcopy-paused")
    for word in t.file, "offset", "it ends before", "block 'ram'", "tried again":
        t.check(word in info["error-desc"], f"{info['error-desc']!r} has no {word!r}")
    t.assert_refused(dst, "migrate-recover", {"uri": f"file:{t.file}"}, "goes on by itself")
    time.sleep(1.5)  # what is tried again fails again
    t.check(dst.status() == "postcopy-paused", f"{dst.status()}")
    with open(t.file, "r+b") as f:
        f.seek(at)
        f.write(rest)
    wait_status(t, dst, "postcopy-active")
    info = finish(t, dst)
    t.check("error-desc" not in info, f"{info}")


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
    save(t, src, f"{t.dir}/guest")
    dst.command("migrate-incoming", {"uri": f"file:{t.dir}/guest", **lazy})
    t.assert_failed(dst, "mapped-ram")


migdtest.main()
