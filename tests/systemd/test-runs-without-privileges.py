#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Daemons that are nobody special, as their units have them: no capability, a user of their own, VMMs of another one. The whole
migration works: with post-copy, for which only the daemon may open /dev/userfaultfd, and with TLS."""

import os
import signal

import migd_tls
import migd_user
import migdtest
from migd_process import argv0, children, wait_until
from migd_supervisor import Supervisor

MEMORY = {"memory": "64M", "working_set": "8M"}


def daemon(t, name):
    """As migd.service, migd.socket and migd-attach.socket start it."""
    s = Supervisor(t, name)
    s.listen_for_all()
    os.mkdir(os.path.join(s.base, "state"), 0o700)
    migd_user.give(s.base, migd_user.DAEMON, migd_user.DAEMON)
    os.chmod(s.base, 0o755)
    attach = os.path.join(s.base, "attach")
    os.chown(attach, migd_user.DAEMON, migd_user.DEVICES)
    os.chmod(attach, 0o660)
    os.chmod(s.path, 0o666)  # the service manager's
    s.options = {"prefix": migd_user.prefix(t, migd_user.DAEMON, migd_user.DAEMON, ["/dev/userfaultfd"])}
    s.start(**s.options)
    return s


def pair(t):
    migd_user.open_up(t)
    vmm = {**MEMORY, "prefix": migd_user.prefix(t, migd_user.VMM, migd_user.DEVICES, ["/dev/kvm"])}
    a, b = daemon(t, "a"), daemon(t, "b")
    src = t.vmm(a.daemon, **vmm)
    dst = t.vmm(b.daemon, incoming=True, **vmm)
    t.assert_runs(src)
    return a, b, src, dst


def check_process(t, pid, uid):
    t.check(migd_user.status(pid, "Uid").split() == [str(uid)] * 4, f"its user: {migd_user.status(pid, 'Uid')}")
    for key in "CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb":
        t.check(int(migd_user.status(pid, key), 16) == 0, f"{argv0(pid)}: {key}")
    t.check(migd_user.status(pid, "NoNewPrivs") == "1", "no_new_privs")


def use_tls(t, src, dst):
    x = migd_tls.X509(t, src, dst)
    x.issue_server(["IP:127.0.0.1"])
    x.issue_client()
    for side, end in (src, "client"), (dst, "server"):
        migd_user.give(x.dirs[side], migd_user.DAEMON)
        migd_tls.add(side, "tls-creds-x509", dir=x.dirs[side], endpoint=end, sanity_check=True, verify_peer=True)
    migd_tls.use(src, dst)


def test_postcopy_with_tls(t):
    if not os.path.exists("/dev/userfaultfd"):
        raise migdtest.Skip("/dev/userfaultfd is missing")
    a, b, src, dst = pair(t)
    for vmm in src, dst:
        t.check(not os.access(f"/proc/{vmm.pid}/root/dev/userfaultfd", os.F_OK) or
                os.stat(f"/proc/{vmm.pid}/root/dev/userfaultfd").st_gid != migd_user.DEVICES, "the VMM may not open it")
        check_process(t, vmm.pid, migd_user.VMM)
        vmm.set_capabilities(postcopy_ram=True)
    use_tls(t, src, dst)
    t.fill(src)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    for s in a, b:
        check_process(t, s.daemon.pid, migd_user.DAEMON)
        workers = [p for p in children(s.daemon.pid) if argv0(p) == "migd-worker"]
        t.check(len(workers) == 1, f"{workers}")
        check_process(t, workers[0], migd_user.DAEMON)
    src.command("migrate-start-postcopy")
    for side in src, dst:
        info = t.wait_end(side)
        t.check(info["status"] == "completed", f"{info}")
    t.check(src.migration()["ram"]["postcopy-bytes"] > 0, "memory was sent behind the guest")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    t.assert_only_runs(dst, src)


def test_a_restart_in_the_middle(t):
    """The VMMs come back to the passed socket, the next daemon finds the workers."""
    a, _b, src, dst = pair(t)
    t.fill(src)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    a.daemon.drop_session()
    t.check(a.daemon.kill(signal.SIGTERM) == 0, "the exit status")
    src.daemon = a.start(**a.options)
    src.wait_attached()
    wait_until(lambda: "took over a former daemon's migration" in a.daemon.log_text(), "the worker is found")
    t.check(src.status() == "active", src.migration())
    t.speed_up(src)
    for side in src, dst:
        t.check(t.wait_end(side)["status"] == "completed", f"{side.migration()}")
    t.assert_only_runs(dst, src)


if __name__ == "__main__":
    migdtest.main()
