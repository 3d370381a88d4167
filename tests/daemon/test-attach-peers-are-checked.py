#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""Whoever connects to the attach socket and is no proper VMM is sent away, told why, and disturbs nobody."""

import os
import socket
import struct
import time

import attach_peer
import migdtest
from attach_peer import HELLO, Peer, attached
from migd_process import wait_until


def refused(t, daemon, expected, body=None, fds=None, **options):
    """HELLO is answered by an error that has this text, and the connection ends."""
    peer = Peer(daemon)
    hello = peer.hello_body(**options) if body is None else body
    peer.send(HELLO, hello, [attach_peer.decision_page()] if fds is None else fds)
    reply = peer.receive()
    t.check(reply and reply.error, f"accepted, although: {expected}")
    t.check(expected in reply.text, f"{reply.text!r} does not say {expected!r}")
    peer.wait_closed()
    t.check(expected in daemon.log_text(), f"the log does not say {expected!r}")


def test_hello_is_checked(t):
    daemon = t.daemon("a")
    bystander = attached(daemon, "bystander")
    good = Peer().hello_body()
    refused(t, daemon, "attach protocol 2 to 3", proto=(2, 3))
    refused(t, daemon, "field 'name'", name="")
    refused(t, daemon, "field 'name'", name="a\nb")
    refused(t, daemon, "field 'role'", role=3)
    refused(t, daemon, "field 'run_state'", run_state=10)
    refused(t, daemon, "field 'handover_state'", handover=10)
    refused(t, daemon, "field 'n_vcpus'", n_vcpus=1025)
    refused(t, daemon, "'hello'", name=b"a\0b")
    refused(t, daemon, "'hello'", name="x" * 128)
    for cut in 0, 1, 27, 40, len(good) - 1:
        refused(t, daemon, "'hello'", body=good[:cut])
    refused(t, daemon, "attach message", body=good + b"x")
    refused(t, daemon, "0 descriptors", fds=[])
    refused(t, daemon, "2 descriptors", fds=[attach_peer.decision_page(), attach_peer.decision_page()])
    t.check([g["name"] for g in daemon.qmp.command("query-guests")] == ["bystander"], "somebody got in")
    bystander.event(attach_peer.STOPPED, attach_peer.RS_PAUSED)
    wait_until(lambda: daemon.guest("bystander")["run-state"] == "paused", "the bystander is still heard")


def test_decision_page_is_checked(t):
    daemon = t.daemon("a")
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (null, attach_peer.decision_page(magic=1), attach_peer.decision_page(length=4095),
               attach_peer.decision_page(length=8192), attach_peer.decision_page(sealed=False)):
        refused(t, daemon, "no decision page", fds=[fd])
    t.check(daemon.qmp.command("query-guests") == [], "a guest was left behind")


def test_bad_messages(t):
    daemon = t.daemon("a")
    garbage = (b"x", b"\0" * 32, b"GET / HTTP/1.1\r\n\r\n", os.urandom(32), os.urandom(65536))
    for data in garbage:
        peer = Peer(daemon)
        peer.send_raw(data)
        peer.wait_closed()
    for header in {"version": 2}, {"length": 0}, {"nfds": 0}, {"flags": 1}, {"seq": 0}, {"error": 5}:
        peer = Peer(daemon)
        peer.send(HELLO, peer.hello_body(), [attach_peer.decision_page()], **header)
        peer.wait_closed()
    peer = Peer(daemon)
    peer.send(attach_peer.PAUSE, struct.pack("<I", 1))
    t.check("PAUSE, not HELLO" in peer.wait_closed()[0].text, "a message before HELLO")
    t.check(daemon.qmp.command("query-guests") == [], "somebody got in")


def test_bad_message_of_a_guest(t):
    daemon = t.daemon("a")
    daemon.qmp.command("query-guests")
    for kind, body in (("a short event", b"x"),
                       ("no run state", struct.pack("<HBB16sQ", 1, 0, 1, bytes(16), 0) + attach_peer.text("")),
                       ("no handover state", struct.pack("<HBB16sQ", 1, 1, 99, bytes(16), 0) + attach_peer.text(""))):
        peer = attached(daemon)
        peer.send(attach_peer.EVENT, body)
        peer.wait_closed()
        event = daemon.qmp.wait_event("GUEST_DETACHED")
        t.check("broke the attach protocol" in event.data["reason"], f"{kind}: {event}")
    wait_until(lambda: daemon.guest("fake") is None, "the guest is forgotten")


def test_unknown_request_is_answered(t):
    peer = attached(t.daemon("a"))
    peer.send(9999)
    reply = peer.receive()
    t.check(reply.error and "type 9999" in reply.text, f"{vars(reply)}")


def test_silent_vmm(t):
    daemon = t.daemon("a")
    peer = Peer(daemon)
    start = time.monotonic()
    t.check(peer.wait_closed() == [], "it was told something")
    t.check(time.monotonic() - start > 4, "it was given no time")
    t.check("did not say HELLO" in daemon.log_text(), "the log does not say why")


def test_many_silent_vmms(t):
    """They neither keep others out for ever nor grow without end."""
    daemon = t.daemon("a")
    crowd = [Peer(daemon) for _ in range(200)]
    t.check(daemon.qmp.command("query-guests") == [], "QMP is held up")
    for peer in crowd:
        peer.wait_closed()
    attached(daemon)


def test_gone_after_hello(t):
    """It says a proper HELLO and does not wait for the answer, again and again."""
    daemon = t.daemon("a")
    page = attach_peer.decision_page()
    for n in range(500):
        peer = Peer(daemon)
        peer.send(HELLO, peer.hello_body(f"brief-{n}"), [page])
        peer.close()
    t.check(daemon.qmp.command("query-guests") is not None and daemon.running(), "the daemon lives")
    wait_until(lambda: daemon.qmp.command("query-guests") == [], "they are forgotten")
    t.check("did not take the answer" in daemon.log_text(), "one was gone before it was answered")
    attached(daemon)


def test_names_are_unique(t):
    daemon = t.daemon("a")
    first = attached(daemon)
    daemon.qmp.skip_events()
    refused(t, daemon, "a guest named 'fake' is attached already")
    first.event(attach_peer.SUSPEND)
    daemon.qmp.wait_event("SUSPEND", guest="fake")
    first.close()
    wait_until(lambda: daemon.guest("fake") is None, "the guest is forgotten")
    attached(daemon)


def test_reconnecting_vmm_replaces_its_old_connection(t):
    daemon = t.daemon("a")
    first = attached(daemon)
    daemon.qmp.command("migrate-set-parameters", {"downtime-limit": 77})
    again = Peer(daemon)
    reply = again.hello(prev_epoch=1)
    version, features, epoch, lease_ms = struct.unpack("<HQII", reply.body)
    t.check((version, features, epoch, lease_ms) == (1, 0, 2, 10000), f"{reply.body}")
    first.wait_closed()
    t.check(daemon.guest("fake")["epoch"] == 2, "another epoch")
    t.check(daemon.qmp.command("query-migrate-parameters")["downtime-limit"] == 77, "its settings are lost")


def test_guest_attach(t):
    daemon = t.daemon("a")
    path = os.path.join(t.dir, "vmm")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen()
    with daemon.connect() as qmp:
        qmp.send(b'{"execute": "guest-attach", "arguments": {"id": "mine", "path": "%s"}}' % path.encode())
        peer = Peer(sock=listener.accept()[0])
        peer.hello("its-own-name")
        t.check(qmp.receive()["event"] == "GUEST_ATTACHED", "the event comes first")
        t.check(qmp.receive()["return"] == {}, "then the answer")
        t.check(qmp.command("query-name") == {"name": "mine"}, "the id is its name here")
        qmp.send(b'{"execute": "guest-attach", "arguments": {"id": "other", "path": "%s"}}' % path.encode())
        Peer(sock=listener.accept()[0]).send_raw(b"nonsense")
        t.check("too short" in qmp.receive()["error"]["desc"], "what is wrong reaches who asked for it")
    stream = os.path.join(t.dir, "stream")
    wrong = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    wrong.bind(stream)
    wrong.listen()
    for where in stream, t.dir, os.path.join(t.dir, "nothing"):
        try:
            daemon.qmp.command("guest-attach", {"id": "x", "path": where})
        except migdtest.QmpError as e:
            t.check(where in e.desc, e.desc)
        else:
            raise AssertionError(f"attached to {where}")


def test_a_guest_that_cannot_be_migrated(t):
    """Its VMM says why, before anybody tries; the reasons go with the VMM."""
    daemon = t.daemon("a")
    peer = attached(daemon)
    t.check("blocked-reasons" not in daemon.qmp.command("query-migrate"), "nothing is in the way")
    why = ["device 'gpu' instance 0 cannot be migrated: it is a real one", "device 'key' instance 1 cannot be migrated: secret"]
    for text in why:
        peer.event(attach_peer.BLOCKED, why=text)
    wait_until(lambda: daemon.qmp.command("query-migrate").get("blocked-reasons") == why, "the reasons are shown")
    try:
        daemon.qmp.command("migrate", {"uri": "tcp:127.0.0.1:1"})
    except migdtest.QmpError as e:
        t.check(why[0] in e.desc and "fake" in e.desc, e.desc)
    else:
        raise AssertionError("migrated")
    t.check("status" not in daemon.qmp.command("query-migrate"), "nothing was begun")
    peer.close()


def test_detached_vmm_stays_away(t):
    daemon = t.daemon("a")
    peer = attached(daemon)
    daemon.qmp.command("guest-detach", {"guest": "fake"})
    peer.wait_closed()
    t.check(daemon.qmp.command("query-guests") == [], "it is still there")
    refused(t, daemon, "was detached by an operator", prev_epoch=1)


migdtest.main(kvm=False)
