#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: lab
# TIMEOUT: 3000
"""The installed daemon under systemd: restarted, killed, hung and reloaded in the middle of migrations, which go on."""

import os
import re
import signal

import installed
from installed import completes, kill_daemon, properties, run
from migd_postcopy import capabilities, enter_postcopy, finish
from migd_process import is_running, wait_until


def goes_on(t, src, dst, worker, old):
    """Another daemon is there; the worker is the same, the guest attached."""
    t.a.replaced(old)
    src.wait_attached()
    t.check(src.status() == "active" and src.worker() == worker and is_running(worker), f"it goes on: {src.migration()}")
    completes(t, src, dst)


def test_migration(t):
    """Between two installed daemons, of VMMs of a user who is only in group kvm; and what the journal says about it."""
    src, dst = installed.pair(t)
    installed.speed_up(t, src)
    t.migrate(src, dst, timeout=120)
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst)
    entries = [e for e in t.a.journal() if "migration status completed" in str(e.get("MESSAGE"))]
    t.check(len(entries) == 1, f"the journal has its end, once: {entries}")
    t.check(entries[0]["_SYSTEMD_UNIT"] == "migd.service" and entries[0]["PRIORITY"] == "6", f"{entries}")


def test_restart(t):
    src, dst = installed.slow_migration(t)
    old, worker = t.a.pid, src.worker()
    run("systemctl", "restart", "migd.service")
    goes_on(t, src, dst, worker, old)


def test_restart_of_the_target(t):
    src, dst = installed.slow_migration(t)
    old = t.b.pid
    run("systemctl", "restart", t.b.unit)
    t.b.replaced(old)
    installed.open_to_vmms(t.b)
    dst.wait_attached()
    t.check(dst.status() == "active", f"it goes on: {dst.migration()}")
    completes(t, src, dst)


def test_killed(t):
    src, dst = installed.slow_migration(t)
    worker = src.worker()
    goes_on(t, src, dst, worker, kill_daemon(t.a))
    t.check(int(properties("migd.service", "NRestarts")["NRestarts"]) >= 1, "it was systemd that started it")


def test_hangs(t):
    """The watchdog strikes: systemd ends a daemon that stands still, and starts another."""
    src, dst = installed.slow_migration(t)
    worker = src.worker()
    old = kill_daemon(t.a, signal.SIGSTOP)
    t.a.drop_session()
    wait_until(lambda: t.a.pid not in (0, old), "the watchdog strikes", 60, every=1)
    t.check("watchdog" in run("journalctl", "-u", "migd.service", "--since", t.a.started, "--no-pager").lower(),
            "systemd says that it was the watchdog")
    goes_on(t, src, dst, worker, old)


def test_reload(t):
    src, dst = installed.slow_migration(t)
    old = t.a.pid
    run("systemctl", "reload", "migd.service")
    t.check(t.a.pid == old and properties("migd.service", "ActiveState")["ActiveState"] == "active", "the same daemon")
    completes(t, src, dst)


def confine(pid):
    """Give a process a cgroup that may have no memory: the next page it asks for is its end."""
    root = "/sys/fs/cgroup"
    cgroup = os.path.join(root, "no-memory")
    os.makedirs(cgroup, exist_ok=True)
    for path, value in ((f"{root}/cgroup.subtree_control", "+memory"), (f"{cgroup}/cgroup.procs", pid), (f"{cgroup}/memory.max", 0)):
        with open(path, "w") as f:
            f.write(str(value))
    return cgroup


def test_worker_without_memory(t):
    """The kernel kills a worker for want of memory: its migration fails, the guest runs on, the daemon stays."""
    src, dst = installed.slow_migration(t)
    old = t.a.pid
    cgroup = confine(src.worker())
    text = t.assert_failed(src, "worker")
    print(f"the migration failed: {text}")
    with open(os.path.join(cgroup, "memory.events")) as f:
        t.check(re.search(r"^oom_kill [1-9]", f.read(), re.M), "it was the kernel that killed it, for want of memory")
    t.check(t.a.pid == old, "the daemon stays")
    t.assert_untouched(src)
    t.assert_only_runs(src, dst)


def test_postcopy_by_the_udev_rule(t):
    """/dev/userfaultfd is the daemon's by its group: neither it nor the VMM has a right of its own."""
    src, dst = installed.pair(t)
    for vmm in src, dst:
        capabilities(vmm, "postcopy-ram", "events")
    with open("/proc/sys/vm/unprivileged_userfaultfd") as f:
        t.check(f.read().strip() == "0", "faults in the kernel are served only by this device")
    enter_postcopy(t, src, dst, t.listen(dst))
    finish(t, src, dst)


installed.main(timeout=2500)
