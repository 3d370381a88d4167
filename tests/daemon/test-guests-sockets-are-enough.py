#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A control plane that knows QEMU alone migrates a guest: on the two guests' own sockets, without ever naming one."""

import os

import migd_qmp
import migdtest
import qmp_clients
from migd_process import SLOW, wait_until


def monitor(t, daemon, guest):
    return migd_qmp.Qmp(os.path.join(t.dir, daemon.name + "-guests", guest + ".qmp"), timeout=20 * SLOW)


def status_of(client):
    return client.command("query-migrate").get("status")


def test_migration(t):
    a, b = (qmp_clients.daemon(t, name, qmp={"guest_sockets": os.path.join(t.dir, name + "-guests")}) for name in "ab")
    src, dst = t.vmm(a, "vm"), t.vmm(b, "vm", incoming=True)
    # More guests on both hosts: which one is meant has to be clear without its name.
    other, _waits = t.vmm(a, "other"), t.vmm(b, "other", incoming=True)
    t.assert_runs(src)
    source, target = monitor(t, a, "vm"), monitor(t, b, "vm")
    for client in source, target:
        client.command("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]})
    target.command("migrate-incoming", {"uri": "tcp:127.0.0.1:0", "exit-on-error": False})
    address = wait_until(lambda: target.command("query-migrate").get("socket-address"), "it listens")[0]
    source.command("migrate", {"uri": f"tcp:{address['host']}:{address['port']}"})
    for client in source, target:
        client.wait_event("MIGRATION", timeout=60 * SLOW, status="completed")
    t.check(status_of(source) == status_of(target) == "completed", "both say so")
    t.check(source.command("query-status")["status"] == "postmigrate", "the source")
    # Its VMM has nothing more to do, and who waits for the outcome is told.
    src.wait_exit()
    t.check(status_of(source) == "completed", "the record")
    t.assert_runs(dst)
    # The others noticed nothing.
    beside = monitor(t, a, "other")
    t.check(status_of(beside) is None and beside.poll_events() == [], "the other guest")
    t.assert_runs(other)
    # As with a QEMU, quit ends the guest, and the connection.
    target.command("quit")
    t.check(dst.wait_exit() == 0, "the VMM's status")
    try:
        while True:
            target.receive()
    except migd_qmp.QmpClosed:
        pass
    # Its migration's outcome can still be asked for.
    t.check(status_of(monitor(t, b, "vm")) == "completed", "the record")


migdtest.main()
