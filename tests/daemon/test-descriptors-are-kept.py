#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""getfd, closefd, add-fd, remove-fd, query-fdsets: whose descriptors are whose, which goes where, and none leaks."""

import os
import socket

import migdtest
from migd_process import wait_until
from migd_qmp import QmpError

NONE_CAME = "No file descriptor supplied via SCM_RIGHTS"


def refused(t, text, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except QmpError as e:
        t.check(e.cls == "GenericError" and text in e.desc, f"the error is {e}")
        return e.desc
    raise AssertionError(f"{args} was not refused: {text}")


def open_null(n, flags=os.O_RDWR):
    return [os.open("/dev/null", flags) for _ in range(n)]


def count(daemon):
    return daemon.fds().count("/dev/null")


def test_names(t):
    daemon = t.daemon("a")
    q = daemon.qmp
    before = count(daemon)
    fds = open_null(2)
    desc = refused(t, NONE_CAME, q.command, "getfd", {"fdname": "x"})
    t.check(desc == NONE_CAME, f"verbatim: {desc!r}")
    refused(t, "not starting with a digit", q.command, "getfd", {"fdname": "1x"}, fds=fds[:1])
    wait_until(lambda: count(daemon) == before, "a descriptor with a bad name is closed")  # behind the answer
    q.command("getfd", {"fdname": "x"}, fds=fds[:1])
    q.command("getfd", {"fdname": "x"}, fds=fds[1:])
    t.check(count(daemon) == before + 1, "a name replaces its descriptor")
    other = daemon.connect()
    desc = refused(t, "not found", other.command, "closefd", {"fdname": "x"})
    t.check(desc == "File descriptor named 'x' not found", f"verbatim: {desc!r}")
    q.command("closefd", {"fdname": "x"})
    refused(t, "not found", q.command, "closefd", {"fdname": "x"})
    t.check(count(daemon) == before, "closefd closes")


def test_names_end_with_their_session(t):
    daemon = t.daemon("a")
    before = count(daemon)
    session = daemon.connect()
    session.command("getfd", {"fdname": "x"}, fds=open_null(1))
    t.check(count(daemon) == before + 1, "kept")
    session.close()
    migdtest.wait_until(lambda: count(daemon) == before, "the session's descriptors are closed")


def test_positions(t):
    """The first of a batch is claimed, the rest closed; a batch may come before its command; a later one replaces it."""
    daemon = t.daemon("a")
    q = daemon.qmp
    before = count(daemon)
    socket.send_fds(q.sock, [b" "], open_null(1))
    q.command("getfd", {"fdname": "before"})
    q.command("getfd", {"fdname": "first-of-16"}, fds=open_null(16))
    t.check(count(daemon) == before + 2, f"one each is left: {count(daemon) - before}")
    socket.send_fds(q.sock, [b" "], open_null(3))
    socket.send_fds(q.sock, [b" "], open_null(1))
    q.command("query-version")
    q.command("getfd", {"fdname": "later"})
    t.check(count(daemon) == before + 3, f"the later batch replaced the earlier: {count(daemon) - before}")
    refused(t, NONE_CAME, q.command, "getfd", {"fdname": "none"})


def test_limit(t):
    daemon = t.daemon("a")
    for i in range(64):
        daemon.qmp.command("getfd", {"fdname": f"n{i}"}, fds=open_null(1))
    before = count(daemon)
    refused(t, "64 named descriptors", daemon.qmp.command, "getfd", {"fdname": "one-more"}, fds=open_null(1))
    t.check(count(daemon) == before, "the one too many is closed")


def test_sets(t):
    daemon = t.daemon("a")
    q = daemon.qmp
    before = count(daemon)
    refused(t, NONE_CAME, q.command, "add-fd", {})
    refused(t, "non-negative", q.command, "add-fd", {"fdset-id": -1}, fds=open_null(1))
    t.check(q.command("query-fdsets") == [], "there is no set yet")
    a = q.command("add-fd", fds=open_null(1))
    b = q.command("add-fd", {"opaque": "mine"}, fds=open_null(1))
    t.check((a["fdset-id"], b["fdset-id"]) == (0, 1), f"the lowest free numbers: {a} {b}")
    c = q.command("add-fd", {"fdset-id": 7}, fds=open_null(1))
    d = q.command("add-fd", {"fdset-id": 1}, fds=open_null(1))
    t.check(len({x["fd"] for x in (a, b, c, d)}) == 4, "each has a number of its own")
    other = daemon.connect()
    sets = other.command("query-fdsets")
    t.check(sets == [{"fdset-id": 7, "fds": [{"fd": c["fd"]}]},
                     {"fdset-id": 1, "fds": [{"fd": b["fd"], "opaque": "mine"}, {"fd": d["fd"]}]},
                     {"fdset-id": 0, "fds": [{"fd": a["fd"]}]}], f"the sets are {sets}")
    refused(t, "'fdset-id:2' not found", q.command, "remove-fd", {"fdset-id": 2})
    refused(t, f"'fdset-id:0, fd:{b['fd']}' not found", q.command, "remove-fd", {"fdset-id": 0, "fd": b["fd"]})
    q.command("remove-fd", {"fdset-id": 1, "fd": b["fd"]})
    q.command("remove-fd", {"fdset-id": 0})
    e = q.command("add-fd", fds=open_null(1))
    t.check(e["fdset-id"] == 0, f"the number is free again: {e}")
    for set_id in (0, 1, 7):
        q.command("remove-fd", {"fdset-id": set_id})
    t.check(q.command("query-fdsets") == [] and count(daemon) == before, "nothing is left")


migdtest.main(kvm=False)
