#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""The history harms nothing: not when its disk is full, and a daemon under which nothing moves does nothing."""

import os
import time

import migd_mount
import migdtest
from migd_process import wait_until
from migd_record import history, record_of


def full_disk(t):
    """A daemon whose records are on a disk without room."""
    disk = migd_mount.small_disk(t, 65536)
    daemon = t.daemon("a")
    daemon.kill()
    daemon.drop_session()
    os.rmdir(os.path.join(daemon.state_dir, "records"))
    os.symlink(disk, os.path.join(daemon.state_dir, "records"))
    with open(os.path.join(disk, "filler"), "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 4096)
        except OSError:
            pass
    return t.daemon("a"), os.path.join(disk, "filler")


def test_full_disk(t):
    daemon, filler = full_disk(t)
    options = {"working_set": "1M"}
    src, dst = t.vmm(daemon, **options), t.incoming(t.daemon("b"), options)
    t.assert_runs(src)
    info = t.migrate(src, dst)
    t.assert_only_runs(dst, src)
    log = daemon.log_text()
    t.check(log.count("history of migrations has holes") == 1 and "No space left" in log, "it is said once")
    # In memory it is whole.
    r = record_of(src)
    t.check(r["status"] == "completed" and r["ram"] == info["ram"] and len(history(daemon)) == 1, f"{r}")
    os.unlink(filler)
    other = t.vmm(daemon, name="g2", **options)
    other.command("migrate", {"uri": "tcp:127.0.0.1:1"})
    t.assert_failed(other)
    t.check("is kept again" in daemon.log_text(), "and that it works again")
    t.check([e["guest"] for e in history(daemon)] == ["g2", "g"], f"{history(daemon)}")


def switches(daemon):
    with open(f"/proc/{daemon.pid}/status") as f:
        return int(next(line.split()[1] for line in f if line.startswith("voluntary_ctxt_switches")))


def test_idle_daemon_sleeps(t):
    """Also with a destination that listens, and a migration that is over."""
    src, dst = t.pair(working_set="1M")
    t.listen(dst)
    src.command("migrate", {"uri": "tcp:127.0.0.1:1"})
    t.assert_failed(src)
    wait_until(lambda: not src.daemon.workers(), "its worker is gone")
    time.sleep(1)
    before = switches(src.daemon), switches(dst.daemon)
    time.sleep(3)
    woken = switches(src.daemon) - before[0], switches(dst.daemon) - before[1]
    # Ten looks a second would be thirty.
    t.check(max(woken) < 10, f"woken up {woken} times in 3 s")


migdtest.main()
