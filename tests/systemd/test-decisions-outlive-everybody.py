#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 120
"""What the service manager keeps of a migration: the page in which the VMM's library decided who runs the guest, and the socket
that the peer finds the target at. They are there when daemon, worker and VMM are gone."""

import os
import signal
import socket

import migdtest
from migd_process import wait_until
from migd_supervisor import Supervisor


def pair(t, lost):
    """Migrate over a link that breaks at `lost`; (the sides' service managers, source, destination, link)."""
    managers = [Supervisor(t, name) for name in "ab"]
    for s in managers:
        s.start()
    src = t.vmm(managers[0].daemon, working_set="2M")
    dst = t.vmm(managers[1].daemon, working_set="2M", incoming=True)
    t.assert_runs(src)
    link = t.proxy(int(t.listen(dst).rpartition(":")[2]), rule=lambda d, n, count: "cut-before" if n == lost else None)
    src.command("migrate", {"uri": link.uri})
    wait_until(link.was_cut.is_set, f"the link breaks at {lost}")
    return managers, src, dst, link


def test_released_and_all_gone(t):
    (a, _b), src, _dst, _link = pair(t, "cmd-commit")
    wait_until(lambda: src.migration().get("handover", {}).get("in-doubt"), "the source is in doubt")
    t.check([n.split("-")[0] for n in a.stored_names()] == ["decision"], f"{a.stored_names()}")
    worker = src.worker()
    src.daemon.drop_session()
    src.daemon.kill()
    os.kill(worker, signal.SIGKILL)
    src.kill()
    daemon = a.start()
    info = wait_until(lambda: (lambda m: m if m.get("status") == "failed" else None)(
        daemon.qmp.command("query-migrate", {"guest": "g"})), "the next daemon knows that all are gone")
    # Without the page it could not tell this from a guest that died before anything happened.
    t.check("released the guest" in info["error-desc"] and "only run there" in info["error-desc"], f"{info}")
    wait_until(lambda: not a.stored, "nothing is kept of what is settled")


def test_loaded_and_all_but_the_vmm_gone(t):
    (_a, b), src, dst, link = pair(t, "reply-loaded")
    t.assert_failed(src)
    wait_until(lambda: dst.migration().get("handover", {}).get("in-doubt"), "the target is in doubt")
    t.check([n.split("-")[0] for n in b.stored_names()] == ["decision", "listen"], f"{b.stored_names()}")
    port = int(dst.migration()["socket-address"][0]["port"])
    worker = dst.worker()
    dst.daemon.drop_session()
    dst.daemon.kill()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{worker}/fd/0"), "the worker is gone")
    socket.create_connection(("127.0.0.1", port), timeout=20).close()  # nobody is refused
    dst.daemon = b.start()
    dst.wait_attached()
    link.heal()
    t.assert_failed(dst)
    t.assert_only_runs(src, dst)
    wait_until(lambda: not b.stored, "nothing is kept of what is settled")


if __name__ == "__main__":
    migdtest.main()
