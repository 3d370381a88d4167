#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""What the kernel says of the real processes that read strangers' bytes, while they do: no capability, a filter, limits, no
descriptor that is not their work's, and nobody of the same user looks into them."""

import contextlib
import os
import re
import socket
import subprocess
import sys

import migd_process
import migd_reports
import migd_shared
import migd_user
import migdtest
from migd_arrivals import Host
from migd_process import wait_until

NONE = "0" * 16
UNLIMITED = "unlimited"
# engine/sandbox.c
LIMITS = {
    "migd-worker": {"Max core file size": "0", "Max open files": "1536"},
    "migd-greeter": {"Max core file size": "0", "Max address space": str(64 << 20)},
    "migd-herald": {"Max core file size": "0", "Max open files": "32", "Max address space": str(256 << 20)},
}
# Sockets, pipes, epoll, event and userfault descriptors, memory, the log, what standard input is; and what it hands on to a VMM,
# and has no ioctl for.
DESCRIPTORS = r"(socket:|pipe:|anon_inode:|/memfd:|/dev/null$|/dev/userfaultfd$|/dev/shm/migdtest-\S+\.ram$|/tmp/migdtest-\S+\.log$)"

ATTACH = r"""
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(16, int(sys.argv[1]), 0, 0) < 0:
    sys.exit(ctypes.get_errno())
os.waitpid(int(sys.argv[1]), 0x40000000)
libc.ptrace(17, int(sys.argv[1]), 0, 0)
"""
EPERM = 1


def need_real_sandbox():
    if migd_reports.INSTRUMENTED:
        raise migdtest.Skip("this build's sandbox is widened for sanitizers or valgrind; the build 'debug' has the real one")


def limits(pid):
    """{name: (soft, hard)}"""
    with open(f"/proc/{pid}/limits") as f:
        rows = [re.split(r"\s{2,}", line.strip()) for line in f.readlines()[1:]]
    return {row[0]: (row[1], row[2]) for row in rows}


def assert_locked_in(t, pid, root=True):
    """root: the daemon had capabilities, all of which it could take away."""
    name = migd_process.argv0(pid)
    for key in ["CapInh", "CapPrm", "CapEff", "CapAmb"] + (["CapBnd"] if root else []):
        t.check(migd_user.status(pid, key) == NONE, f"{name}: {key} is {migd_user.status(pid, key)}")
    t.check(migd_user.status(pid, "NoNewPrivs") == "1", f"{name} may gain privileges")
    t.check(migd_user.status(pid, "Seccomp") == "2", f"{name} has no filter")
    found = limits(pid)
    for what, value in LIMITS[name].items():
        t.check(found[what] == (value, value), f"{name}: {what} is {found[what]}, not {value}")
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            link = os.readlink(f"/proc/{pid}/fd/{fd}")
            t.check(re.match(DESCRIPTORS, link), f"{name}: descriptor {fd} is {link}")


def slow_pair(t, **options):
    src, dst = t.pair(**options)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    return src, dst


def test_workers(t):
    need_real_sandbox()
    src, dst = slow_pair(t)
    for vmm in src, dst:
        assert_locked_in(t, vmm.worker())
    t.speed_up(src)
    t.check(t.wait_end(src)["status"] == "completed", "and it works")


def test_greeter(t):
    need_real_sandbox()
    daemon = t.daemon("b", extra=migd_shared.LISTEN)
    with socket.create_connection(("127.0.0.1", migd_shared.port(daemon))) as peer:
        peer.sendall(migd_shared.preamble("g")[:20])
        pid = wait_until(daemon.greeters, "the greeter is there")[0]
        wait_until(lambda: migd_user.status(pid, "Seccomp") == "2", "it has locked itself in")
        assert_locked_in(t, pid)


def test_herald(t):
    need_real_sandbox()
    host = Host(t, "b")
    with socket.create_connection(("127.0.0.1", migd_shared.port(host.daemon))) as peer:
        peer.sendall(migd_shared.preamble("g", flags=1))
        pid = wait_until(host.heralds, "the announcement is heard")[0]
        wait_until(lambda: migd_user.status(pid, "Seccomp") == "2", "it has locked itself in")
        assert_locked_in(t, pid)


def attach_as(uid, pid):
    """The errno of a ptrace() by that user."""
    return subprocess.run(["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--no-new-privs",
                           "--inh-caps=-all", "--bounding-set=-all", sys.executable, "-c", ATTACH, str(pid)], timeout=60).returncode


def test_the_same_user_cannot_look_in(t):
    """Of two processes of one user, one cannot be traced: the worker. The other shows that the user may."""
    need_real_sandbox()
    migd_user.open_up(t)
    base = os.path.join(t.dir, "a")
    os.makedirs(os.path.join(base, "state"), 0o700)
    os.chmod(base, 0o755)
    migd_user.give(base, migd_user.DAEMON, migd_user.DAEMON)
    a = t.daemon("a", prefix=migd_user.prefix(t, migd_user.DAEMON, migd_user.DAEMON))
    plain = migd_process.Process(t, "plain", ["sleep", "1000"], prefix=migd_user.prefix(t, migd_user.DAEMON, migd_user.DAEMON))
    options = {"working_set": "4M"}
    src = t.vmm(a, prefix=migd_user.prefix(t, migd_user.DAEMON, migd_user.DAEMON, ["/dev/kvm"]), **options)
    t.assert_runs(src)
    t.make_slow(src)
    server = t.daemon("b")
    dst = t.incoming(server, options)
    t.start(src, dst)
    t.wait_active(src)
    worker = src.worker()
    wait_until(lambda: migd_process.argv0(plain.pid) == "sleep", "it is started")
    t.check(attach_as(migd_user.DAEMON, plain.pid) == 0, "a user may trace its own")
    t.check(migd_user.status(worker, "Uid").split()[0] == str(migd_user.DAEMON), "the worker is of the same user")
    assert_locked_in(t, worker, root=False)
    t.check(attach_as(migd_user.DAEMON, worker) == EPERM, "the worker can be traced")
    t.check(os.stat(f"/proc/{worker}/mem").st_uid == 0, "its memory is its user's to open")


if __name__ == "__main__":
    migdtest.main()
