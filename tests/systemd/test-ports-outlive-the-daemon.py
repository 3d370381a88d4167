#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""Shared ports in the service manager's store: nobody who connects between two daemons is refused."""

import signal
import socket

import migd_shared
import migdtest
from migd_process import wait_until
from migd_supervisor import Supervisor


def ports(daemon):
    return {x["uri"]: x["address"] for x in daemon.qmp.command("query-host-listeners")}


def restart(t, s, sig, **options):
    s.daemon.drop_session()
    s.daemon.kill(sig)
    t.check("Sanitizer" not in s.daemon.log_text(), "it leaks")
    # The port is open, though nobody is there.
    waiting = [socket.create_connection(("127.0.0.1", p), timeout=20) for p in s.ports]
    daemon = s.start(**options)
    return daemon, waiting


def test_nobody_is_refused(t):
    s = Supervisor(t, "a")
    daemon = s.start(extra=migd_shared.LISTEN)
    daemon.qmp.command("host-listen", {"uri": "tcp:localhost:0"})
    before = ports(daemon)
    s.ports = [int(a["port"]) for a in before.values()]
    wait_until(lambda: len(s.stored) == 2, "both are stored")
    t.check(s.stored_names() == ["port-tcp%3A127.0.0.1%3A0", "port-tcp%3Alocalhost%3A0"], f"{s.stored_names()}")
    for sig in signal.SIGTERM, signal.SIGKILL:
        daemon, waiting = restart(t, s, sig, extra=migd_shared.LISTEN)
        t.check(ports(daemon) == before, f"{ports(daemon)} after {before}")
        t.check(len(s.stored) == 2 and "of no use" not in daemon.log_text(), "they stay in the store")
        wait_until(lambda d=daemon: all(x["connections"] == 1 for x in d.qmp.command("query-host-listeners")), "they are let in")
        for connection in waiting:
            connection.close()
    daemon.qmp.command("host-listen-stop", {"uri": "tcp:localhost:0"})
    wait_until(lambda: s.stored_names() == ["port-tcp%3A127.0.0.1%3A0"], "one that is closed is not kept")


def test_what_is_not_wanted_any_more(t):
    s = Supervisor(t, "a")
    daemon = s.start(extra=migd_shared.LISTEN)
    wait_until(lambda: s.stored, "the port is stored")
    port = int(next(iter(ports(daemon).values()))["port"])
    daemon.drop_session()
    daemon.kill(signal.SIGTERM)
    s.start()
    wait_until(lambda: not s.stored, "it is taken out of the store")

    def refused():
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return True
        return False
    wait_until(refused, "and closed")


def test_something_else_under_a_ports_name(t):
    s = Supervisor(t, "a")
    daemon = s.start(extra=migd_shared.LISTEN)
    before = wait_until(lambda: ports(daemon), "the port is open")
    daemon.drop_session()
    daemon.kill(signal.SIGKILL)
    one, two = socket.socketpair()
    s.stored.insert(0, (s.stored_names()[0], two.detach()))
    daemon = s.start(extra=migd_shared.LISTEN)
    t.check("of no use" in daemon.log_text(), "it is told")
    t.check(len(ports(daemon)) == len(before), "the port is open all the same")
    one.close()


if __name__ == "__main__":
    migdtest.main(kvm=False)
