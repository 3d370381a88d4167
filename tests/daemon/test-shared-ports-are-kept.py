#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""Shared ports: opened, refused, described, closed; and opened again by the next daemon, at the same addresses."""

import os
import signal
import socket

import migd_shared
import migdtest
from migd_process import wait_until


def listeners(daemon):
    return daemon.qmp.command("query-host-listeners")


def refused(t, daemon, command, arguments, *words):
    try:
        answer = daemon.qmp.command(command, arguments)
    except migdtest.QmpError as e:
        for word in words:
            t.check(word in e.desc, f"{command}: {e.desc!r} does not mention {word!r}")
        return
    raise AssertionError(f"{command} {arguments} was accepted: {answer}")


def restart(t, daemon, sig=signal.SIGTERM, extra=()):
    status = daemon.kill(sig)
    t.check(sig == signal.SIGKILL or status == 0, f"the exit status is {status}")
    t.check("Sanitizer" not in daemon.log_text(), f"{daemon.name} leaks")
    daemon = t.daemon(daemon.name, extra=extra)
    wait_until(lambda: all(x.get("address") for x in listeners(daemon)), "all ports are open again")
    return daemon


def test_commands(t):
    daemon = t.daemon("a")
    t.check(listeners(daemon) == [] and not daemon.greeters(), "there is none, and no greeter")
    one = daemon.qmp.command("host-listen", {"uri": "tcp:127.0.0.1:0"})
    t.check(one["uri"] == "tcp:127.0.0.1:0" and one["address"]["type"] == "inet" and int(one["address"]["port"]) > 0
            and (one["connections"], one["passed"], one["undecided"], one["refused"]) == (0, 0, 0, []), f"{one}")
    path = os.path.join(t.dir, "shared")
    two = daemon.qmp.command("host-listen", {"addr": {"type": "unix", "path": path}})
    t.check(two["address"] == {"type": "unix", "path": path} and two["uri"] == f"unix:{path}", f"{two}")
    t.check(listeners(daemon) == [one, two], f"{listeners(daemon)}")
    refused(t, daemon, "host-listen", {}, "uri")
    refused(t, daemon, "host-listen", {"uri": "tcp:127.0.0.1:1", "addr": {"type": "unix", "path": path}}, "exclude")
    refused(t, daemon, "host-listen", {"uri": "tcp:127.0.0.1:0"}, "already")
    refused(t, daemon, "host-listen", {"uri": f"tcp:127.0.0.1:{one['address']['port']}"}, "in use")
    refused(t, daemon, "host-listen", {"uri": "tcp:127.0.0.1:0,guest=x"}, "to listen on")
    refused(t, daemon, "host-listen", {"uri": "exec:true"}, "to listen on")
    refused(t, daemon, "host-listen", {"uri": "shared:"}, "to listen on")
    refused(t, daemon, "host-listen-stop", {"uri": "tcp:127.0.0.1:1"}, "query-host-listeners")
    daemon.qmp.command("host-listen-stop", {"uri": one["uri"]})
    daemon.qmp.command("host-listen-stop", {"uri": two["uri"]})
    t.check(listeners(daemon) == [] and not os.path.exists(path), "they are gone")
    try:
        socket.create_connection(("127.0.0.1", int(one["address"]["port"]))).close()
    except ConnectionRefusedError:
        return
    raise AssertionError("the port is still open")


def test_no_more_than_sixteen(t):
    daemon = t.daemon("a")
    for n in range(16):
        daemon.qmp.command("host-listen", {"uri": f"unix:{t.dir}/{n}"})
    refused(t, daemon, "host-listen", {"uri": f"unix:{t.dir}/x"}, "16")


def test_restart(t):
    daemon = t.daemon("a", extra=migd_shared.LISTEN)
    daemon.qmp.command("host-listen", {"uri": "tcp:localhost:0"})
    daemon.qmp.command("host-listen", {"uri": f"unix:{t.dir}/x"})
    before = [(x["uri"], x["address"]) for x in listeners(daemon)]
    t.check(len(before) == 3, f"{before}")
    for sig in signal.SIGTERM, signal.SIGKILL:
        daemon = restart(t, daemon, sig, migd_shared.LISTEN)
        t.check([(x["uri"], x["address"]) for x in listeners(daemon)] == before, f"{listeners(daemon)}")
    # The option's own goes with the option.
    daemon = restart(t, daemon)
    t.check([(x["uri"], x["address"]) for x in listeners(daemon)] == before[1:], f"{listeners(daemon)}")


def test_port_taken_at_restart(t):
    daemon = t.daemon("a", extra=migd_shared.LISTEN)
    kept = daemon.qmp.command("host-listen", {"uri": "tcp:127.0.0.1:00"})["address"]
    first = migd_shared.port(daemon)
    daemon.kill()
    with socket.create_server(("127.0.0.1", int(kept["port"]))), socket.create_server(("127.0.0.1", first)):
        daemon = t.daemon("a", extra=migd_shared.LISTEN)
        t.check(migd_shared.port(daemon) != first, "the option has another port")
        entry = wait_until(lambda: (lambda x: x if "error" in x else None)(listeners(daemon)[1]), "it says why not")
        t.check("in use" in entry["error"] and "address" not in entry, f"{entry}")
    entry = wait_until(lambda: (lambda x: x if "address" in x else None)(listeners(daemon)[1]), "it is tried again")
    t.check(entry["address"] == kept and "error" not in entry, f"{entry}")


def test_damaged_store(t):
    daemon = t.daemon("a", extra=migd_shared.LISTEN)
    path = os.path.join(daemon.state_dir, "settings", "listeners")
    for text in "", "[]", "{", '{"version": 2, "listeners": []}', '{"version": 1, "listeners": 5}', \
            '{"version": 1, "listeners": [1, {"uri": 5}, {"uri": "x", "address": "y", "option": false}]}':
        daemon.kill()
        with open(path, "w") as f:
            f.write(text)
        daemon = t.daemon("a", extra=migd_shared.LISTEN)
        t.check(len(listeners(daemon)) == 1, f"{text}: {listeners(daemon)}")
        t.check("ignoring" in daemon.log_text() or text.endswith("5}"), f"{text}: the log says so")


def test_bad_options(t):
    daemon = t.daemon("a", extra=migd_shared.LISTEN)
    taken = migd_shared.port(daemon)
    for uri, status, word in (f"tcp:127.0.0.1:{taken}", 1, "in use"), ("tcp:nowhere", 2, "port"), \
            ("shared:", 2, "listen on"), ("tcp:127.0.0.1:0,guest=x", 2, "listen on"):
        other = t.daemon("b", extra=("--listen", uri), ready=False)
        t.check(other.wait_exit() == status, f"{uri}: it does not start")
        t.check("--listen" in other.log_text() and word in other.log_text().splitlines()[-1], f"{uri}: {other.log_text()}")


migdtest.main(kvm=False)
