#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""Each command is a line of the log, with who gave it and what became of it; secrets are not."""

import os
import re

import attach_peer
import migd_qmp
import migdtest
import qmp_clients
from migd_process import wait_until
from qmp_clients import UID, error, user


def lines(daemon, command):
    """The audit's lines about COMMAND, each as what its keys are."""
    found = []
    for line in daemon.log_text().splitlines():
        if f"audit: command='{command}' " in line:
            keys = dict(re.findall(r" ([a-z-]+)=('[^']*'|[^' ]+)", line.split("audit:", 1)[1]))
            found.append({key: value.strip("'") for key, value in keys.items()})
    return found


def only_line(t, daemon, command):
    wait_until(lambda: lines(daemon, command), f"{command} is noted")
    found = lines(daemon, command)
    t.check(len(found) == 1, f"{command}: {found}")
    return found[0]


def test_changes_are_noted(t):
    daemon = qmp_clients.daemon(t)
    _peer = attach_peer.attached(daemon, "g")
    daemon.qmp.command("migrate-set-parameters", {"guest": "g", "max-bandwidth": 4711})
    line = only_line(t, daemon, "migrate-set-parameters")
    for key, value in (("guest", "g"), ("outcome", "done"), ("user", "root"), ("uid", "0"), ("pid", str(os.getpid()))):
        t.check(line[key] == value, f"{key}: {line}")
    t.check("4711" in line["arguments"] and "class" not in line and int(line["took-ms"]) < 20000, f"{line}")
    with open("/proc/self/comm") as f:
        t.check(line["comm"] in (f.read().strip(), ""), f"{line}")
    error(daemon.qmp, "migrate", {"guest": "none", "uri": "tcp:127.0.0.1:1"})
    line = only_line(t, daemon, "migrate")
    t.check((line["outcome"], line["class"], line["guest"]) == ("failed", "DeviceNotFound", "none"), f"{line}")
    t.check("none" in line["error"], f"{line}")
    # Who may not is noted as well; another session has another number.
    with user():
        other = daemon.connect()
    error(other, "object-add", {"qom-type": "secret", "id": "s", "file": "/x"})
    refused = only_line(t, daemon, "object-add")
    t.check((refused["outcome"], refused["uid"], refused["user"]) == ("refused", str(UID), ""), f"{refused}")
    t.check(refused["session"] != line["session"], f"{refused}, {line}")
    # Queries are not, nor is what there is not.
    daemon.qmp.command("query-guests")
    error(daemon.qmp, "no-such-command")
    t.check(not lines(daemon, "query-guests") and not lines(daemon, "no-such-command"), "noted")


def test_secrets_and_long_texts(t):
    daemon = qmp_clients.daemon(t)
    daemon.qmp.command("object-add", {"qom-type": "secret", "id": "s", "data": "open sesame"})
    line = only_line(t, daemon, "object-add")
    t.check(line["arguments"] == '{"qom-type": "secret", "id": "s"}', f"{line}")
    try:
        daemon.qmp.command("human-monitor-command", {"command-line": "object_add secret,id=t,data=open-sesame"})
    except migdtest.QmpError:
        pass
    error(daemon.qmp, "guest-detach", {"guest": "it's\n\x1b[31mred\u00e9 outcome=done " + "x" * 5000})
    line = only_line(t, daemon, "guest-detach")
    t.check(line["outcome"] == "failed" and line["arguments"].endswith("...") and len(line["arguments"]) <= 300, f"{line}")
    t.check(line["guest"].startswith("it`s??[31mred??") and len(line["guest"]) <= 128, f"{line}")
    for line in daemon.log_text().splitlines():
        t.check("sesame" not in line and len(line) < 2048 and line.isascii(), f"{line!r}")


def test_all_and_none(t):
    daemon = qmp_clients.daemon(t, qmp={"audit": "all"})
    daemon.qmp.command("query-guests")
    only_line(t, daemon, "query-guests")
    error(daemon.qmp, "no'such command")
    t.check(only_line(t, daemon, "no`such command")["class"] == "CommandNotFound", "what there is not")
    qmp_clients.configure(t, qmp={"audit": "none"})
    daemon.qmp.command("reload-config")
    daemon.qmp.command("host-set-parameters", {"max-outgoing": 1})
    daemon.qmp.command("query-host-parameters")
    t.check(not lines(daemon, "host-set-parameters"), "noted")


def test_a_client_that_leaves_is_noted(t):
    daemon = qmp_clients.daemon(t)
    peer = attach_peer.attached(daemon, "g")
    with migd_qmp.Qmp(daemon.qmp_path) as client:
        client.send(b'{"execute": "stop"}')
        asked = peer.receive()
    daemon.qmp.command("query-guests")
    peer.refuse(asked, attach_peer.BAD_STATE, "no")
    t.check(only_line(t, daemon, "stop")["outcome"] == "failed", "what became of it")


migdtest.main(kvm=False)
