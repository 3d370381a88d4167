#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""Who has no descriptor for a daemon that waits at its socket waits a little, too, and does not turn in circles meanwhile."""

import glob
import os
import resource
import signal
import socket
import time

import migdtest
from migd_process import children, argv0, wait_until

HZ = os.sysconf("SC_CLK_TCK")
WAIT_SECONDS = 2


def cpu_seconds(pid, thread):
    with open(f"/proc/{pid}/task/{thread}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / HZ


def thread_named(pid, name):
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/comm") as f:
            if f.read().strip() == name:
                return int(thread)
    raise AssertionError(f"process {pid} has no thread {name}")


def check_rests(t, pid, thread, path):
    """Somebody connects to PATH, which the process has no descriptor for: its thread has next to nothing to do."""
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    there = {int(n) for n in os.listdir(f"/proc/{pid}/fd")}
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (next(n for n in range(1 << 16) if n not in there), limits[1]))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as waiting:
        waiting.connect(path)
        before, began = cpu_seconds(pid, thread), time.monotonic()
        time.sleep(WAIT_SECONDS)
        share = (cpu_seconds(pid, thread) - before) / (time.monotonic() - began)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        # One that turns in circles takes all that others leave it.
        t.check(share < 0.03, f"it took {share:.0%} of a CPU to wait")


def test_library(t):
    daemon = t.daemon("a")
    vmm = t.vmm(daemon, name="g", listen=True)
    wait_until(lambda: os.path.exists(vmm.listen_path), "the VMM listens", alive=[vmm])
    t.assert_runs(vmm)
    check_rests(t, vmm.pid, thread_named(vmm.pid, "migd-guest"), vmm.listen_path)
    daemon.qmp.command("guest-attach", {"id": "g", "path": vmm.listen_path})
    wait_until(lambda: (daemon.guest("g") or {}).get("attached"), "the guest is attached")


def test_worker(t):
    src, dst = t.pair(working_set="8M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    src.daemon.kill(signal.SIGKILL)
    src.daemon.drop_session()
    worker, = [p for p in children(os.getpid()) if argv0(p) == "migd-worker"]
    path, = glob.glob(os.path.join(src.daemon.state_dir, "workers", "*.sock"))
    check_rests(t, worker, worker, path)
    src.daemon = t.daemon(src.daemon.name)
    src.wait_attached()
    t.speed_up(src)
    t.check(t.wait_end(src)["status"] == "completed", f"the next daemon found it: {src.migration()}")


migdtest.main()
