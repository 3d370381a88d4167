#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""Sockets that a service manager made: used instead of the options' paths, and left where they are."""

import os
import signal
import socket
import sys

import migdtest
from migd_process import SOURCE_DIR, wait_until
from migd_supervisor import Supervisor

sys.path.insert(0, os.path.join(SOURCE_DIR, "tests/daemon"))
import attach_peer  # noqa: E402


def supervisor(t, **options):
    s = Supervisor(t, "a", **options)
    s.listen_for_all()
    return s


def test_passed_sockets_are_used(t):
    s = supervisor(t)
    # Somebody is there before the daemon is.
    early = socket.socket(socket.AF_UNIX)
    early.connect(os.path.join(s.base, "qmp"))
    daemon = s.start()
    early.settimeout(20)
    t.check(b"QMP" in early.recv(4096), "who came early is greeted")
    early.close()
    peer = attach_peer.attached(daemon)
    t.check(daemon.guest("fake")["attached"], "VMMs come in")
    inodes = [os.stat(p).st_ino for p in (daemon.qmp_path, daemon.attach_path)]
    daemon.drop_session()
    t.check(daemon.kill(signal.SIGTERM) == 0, "the exit status")
    peer.wait_closed()
    t.check([os.stat(p).st_ino for p in (daemon.qmp_path, daemon.attach_path)] == inodes, "the sockets are not ours to remove")
    # Nobody is refused between two daemons.
    waiting = socket.socket(socket.AF_UNIX)
    waiting.connect(daemon.qmp_path)
    s.start()
    waiting.settimeout(20)
    t.check(b"QMP" in waiting.recv(4096), "who came in between is greeted")
    waiting.close()


def test_one_of_two(t):
    s = Supervisor(t, "a")
    s.listen("attach", os.path.join(s.base, "attach"), socket.SOCK_SEQPACKET)
    daemon = s.start()
    t.check(daemon.qmp.command("query-guests") == [], "the other is made as without a service manager")
    daemon.drop_session()
    daemon.kill(signal.SIGTERM)
    t.check(not os.path.exists(daemon.qmp_path) and os.path.exists(daemon.attach_path), "and removed")


def test_wrong_kind(t):
    s = Supervisor(t, "a")
    s.listen("attach", os.path.join(s.base, "attach"))
    daemon = s.start(ready=False)
    t.check(daemon.wait_exit() == 1 and "ListenSequentialPacket=" in daemon.log_text(), daemon.log_text())
    t.check(os.path.exists(os.path.join(s.base, "attach")), "it stays")


def test_unknown_descriptors_are_closed(t):
    s = supervisor(t)
    ours, theirs = socket.socketpair()
    s.sockets["who-knows"] = theirs
    daemon = s.start()
    wait_until(lambda: "name='who-knows'" in daemon.log_text(), "it is named in the log")
    theirs.close()
    ours.settimeout(20)
    t.check(ours.recv(1) == b"", "it is closed")
    ours.close()
    with daemon.connect() as q:
        t.check(q.command("query-guests") == [], "and nothing else")


if __name__ == "__main__":
    migdtest.main(kvm=False)
