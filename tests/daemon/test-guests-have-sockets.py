#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""Each guest's own QMP socket: as a QEMU's monitor, and nothing of other guests or of the host."""

import os
import socket
import stat

import attach_peer
import migd_qmp
import migdtest
import qmp_clients
from migd_process import wait_until
from qmp_clients import error


def start(t):
    daemon = qmp_clients.daemon(t, qmp={"guest_sockets": os.path.join(t.dir, "guests"), "socket_mode": "0660"})
    daemon.sockets = os.path.join(t.dir, "guests")
    return daemon


def guest_socket(daemon, guest):
    return os.path.join(daemon.sockets, guest + ".qmp")


def test_it_is_a_monitor_of_that_guest(t):
    daemon = start(t)
    one, _two = attach_peer.attached(daemon, "one"), attach_peer.attached(daemon, "two")
    t.check(sorted(os.listdir(daemon.sockets)) == ["one.qmp", "two.qmp"], f"{os.listdir(daemon.sockets)}")
    t.check(stat.S_IMODE(os.stat(guest_socket(daemon, "one")).st_mode) == 0o660, "the mode")
    first, second = migd_qmp.Qmp(guest_socket(daemon, "one")), migd_qmp.Qmp(guest_socket(daemon, "two"))
    t.check(first.command("query-name") == {"name": "one"} and second.command("query-name") == {"name": "two"}, "the names")
    t.check(first.command("query-status")["running"], "it runs")
    t.check(first.command("query-name", {"guest": "one"}) == {"name": "one"}, "named, too")
    t.check("'one' only" in error(first, "query-status", {"guest": "two"}), "another guest's")
    # Settings are that guest's.
    first.command("migrate-set-parameters", {"max-bandwidth": 4711})
    t.check(second.command("query-migrate-parameters")["max-bandwidth"] != 4711, "of the other guest, too")
    with open(os.path.join(t.dir, "f"), "wb") as f:
        first.command("getfd", {"fdname": "x"}, fds=[f.fileno()])
    t.check("not found" in error(second, "closefd", {"fdname": "x"}), "names are a session's")
    first.command("closefd", {"fdname": "x"})
    # Events of that guest only.
    daemon.qmp.command("query-guests")
    one.event(attach_peer.STOPPED, run_state=attach_peer.RS_PAUSED)
    first.wait_event("STOP")
    daemon.qmp.wait_event("STOP", guest="one")
    second.command("query-status")
    t.check(second.poll_events() == [], f"events of another guest: {second.events}")


def test_the_host_is_not_to_be_had_there(t):
    daemon = start(t)
    _one, _two = attach_peer.attached(daemon, "one"), attach_peer.attached(daemon, "two")
    client = migd_qmp.Qmp(guest_socket(daemon, "one"))
    t.check([g["name"] for g in client.command("query-guests")] == ["one"], "it sees others")
    there = {c["name"] for c in client.command("query-commands")}
    everywhere = {c["name"] for c in daemon.qmp.command("query-commands")}
    for command, arguments in (("guest-attach", {"id": "x", "path": "/x"}), ("guest-detach", {"guest": "one"}),
                               ("host-set-parameters", {"max-outgoing": 1}), ("object-del", {"id": "x"}),
                               ("query-host-parameters", None), ("query-migrations", None), ("query-objects", None),
                               ("guest-open-qmp", {"guest": "one", "path": "/x"}), ("reload-config", None)):
        text = error(client, command, arguments)
        t.check("whole host" in text and "'one'" in text, f"{command}: {text!r}")
        t.check(command not in there and command in everywhere, f"{command}: listed wrongly")
    for command in "query-status", "quit", "migrate", "getfd", "query-commands", "query-qmp-schema", "qmp_capabilities":
        t.check(command in there, f"{command}: not listed")


def test_quit_ends_the_guest(t):
    daemon = start(t)
    one, two = attach_peer.attached(daemon, "one"), attach_peer.attached(daemon, "two")
    client = migd_qmp.Qmp(guest_socket(daemon, "one"))
    client.send(b'{"execute": "quit", "id": 1}')
    asked = one.receive()
    t.check(asked.type == attach_peer.REQUEST_SHUTDOWN, f"the VMM is asked for {asked.type}")
    one.reply(asked)
    one.sock.close()
    # As with a QEMU: the answer, and then the end.
    while "return" not in client.receive():
        pass
    try:
        while True:
            client.receive()
    except migd_qmp.QmpClosed:
        pass
    wait_until(lambda: os.listdir(daemon.sockets) == ["two.qmp"], "the socket vanishes")
    t.check(daemon.running() and daemon.guest("two")["attached"], "the host goes on")
    two.sock.close()
    wait_until(lambda: os.listdir(daemon.sockets) == [], "the other vanishes")


def test_names_that_are_no_file_names(t):
    daemon = start(t)
    for name, path in (("../../x", "%2E.%2F..%2Fx"), ("a b\u00e9'%", "a%20b%C3%A9%27%25"), (".hidden", "%2Ehidden"), ("v1.2_x-", "v1.2_x-")):
        peer = attach_peer.attached(daemon, name)
        with migd_qmp.Qmp(guest_socket(daemon, path)) as client:
            t.check(client.command("query-name") == {"name": name}, name)
        peer.sock.close()
        wait_until(lambda: os.listdir(daemon.sockets) == [], "the socket vanishes")
    # One that is too long for a socket's path has none, and is a guest all the same.
    long = "x" * 120
    _peer = attach_peer.attached(daemon, long)
    t.check("no QMP socket of its own" in daemon.log_text() and daemon.guest(long), "the guest")


def test_what_was_left_over_is_removed(t):
    daemon = start(t)
    one = attach_peer.attached(daemon, "one")
    daemon.kill()
    one.sock.close()
    t.check(os.listdir(daemon.sockets) == ["one.qmp"], "it had no time to clean up")
    with open(os.path.join(daemon.sockets, "file.qmp"), "w"):
        pass
    other = socket.socket(socket.AF_UNIX)
    other.bind(guest_socket(daemon, "used"))
    other.listen()
    again = start(t)
    t.check(sorted(os.listdir(again.sockets)) == ["file.qmp", "used.qmp"], f"{os.listdir(again.sockets)}")
    # What is somebody else's is not taken over.
    peer = attach_peer.attached(again, "used")
    t.check("another process listens there" in again.log_text(), "why it has none")
    peer.sock.close()
    other.close()
    _peer = attach_peer.attached(again, "one")
    again.kill(15)
    t.check(sorted(os.listdir(again.sockets)) == ["file.qmp", "used.qmp"], f"{os.listdir(again.sockets)}")


def test_sockets_can_be_asked_for(t):
    daemon = t.daemon("a")
    peer = attach_peer.attached(daemon, "one")
    path = os.path.join(t.dir, "mine")
    for arguments, word in (({"path": "relative"}, "absolute"), ({"path": os.path.join(t.dir, "no/such/dir")}, "must exist"),
                            ({"path": "/" + "x" * 200}, "107 bytes"), ({"path": path, "guest": "none"}, "'none'")):
        t.check(word in error(daemon.qmp, "guest-open-qmp", {"guest": "one", **arguments}), f"{arguments}")
    daemon.qmp.command("guest-open-qmp", {"guest": "one", "path": path})
    t.check("already" in error(daemon.qmp, "guest-open-qmp", {"guest": "one", "path": path}), "twice")
    client = migd_qmp.Qmp(path)
    t.check(client.command("query-name") == {"name": "one"}, "whose it is")
    daemon.qmp.command("guest-close-qmp", {"guest": "one", "path": path})
    t.check(not os.path.exists(path) and client.command("query-name") == {"name": "one"}, "its clients stay")
    t.check("no socket" in error(daemon.qmp, "guest-close-qmp", {"guest": "one", "path": path}), "twice")
    for n in range(16):
        daemon.qmp.command("guest-open-qmp", {"guest": "one", "path": f"{path}{n}"})
    t.check("16 sockets" in error(daemon.qmp, "guest-open-qmp", {"guest": "one", "path": path}), "the limit")
    peer.sock.close()
    wait_until(lambda: not any(f.startswith("mine") for f in os.listdir(t.dir)), "they vanish with the guest")


migdtest.main(kvm=False)
