# SPDX-License-Identifier: Apache-2.0
"""Guests that are restored lazily from a mapped-ram file."""

import os

import migdtest
from migd_process import wait_until

OPTIONS = {"memory": "96M", "working_set": "8M"}
SLOWLY = 256 << 10  # bytes/s of what nobody waits for
FILLED = slice(64 << 20, 88 << 20)  # memory that the guest does not look at


def capabilities(names, *sides):
    for side in sides:
        side.command("migrate-set-capabilities", {"capabilities": [{"capability": n, "state": True} for n in names]})


def need_userfaultfd():
    if not os.access("/dev/userfaultfd", os.R_OK | os.W_OK):
        raise migdtest.Skip("/dev/userfaultfd cannot be opened")


def save(t, src, uri):
    src.command("migrate", {"uri": uri})
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source says {info}")


def saved(t, names=("mapped-ram",), at="", stopped=False, **options):
    """A guest that is in a file, with all of its working set and more: a VMM that waits for it."""
    need_userfaultfd()
    src, dst = t.pair(**OPTIONS, **options)
    t.pattern = os.urandom(1 << 20) * (FILLED.stop - FILLED.start >> 20)
    src.mem.map[FILLED] = t.pattern
    t.file = f"{t.dir}/guest"
    capabilities(names, src, dst)
    t.assert_memory_verified(src, rounds=src.mem.detail(1))
    if stopped:
        src.command("stop")
    t.uri = f"file:{t.file}{at}"
    save(t, src, t.uri)
    return dst


def restore(t, dst, limit=SLOWLY):
    dst.set(max_postcopy_bandwidth=limit)
    dst.command("migrate-incoming", {"uri": t.uri, "lazy": True, "exit-on-error": False})


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
