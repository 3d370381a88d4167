#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""announce-self: the daemon counts and spaces the rounds, the VMM is asked for each; the same id takes the timer's place."""

import struct
import threading

import attach_peer
import migdtest
from attach_peer import ANNOUNCE, attached

LONG = {"initial": 100000, "max": 100000, "step": 1}
AT_ONCE = {"initial": 0, "max": 0, "step": 1}


def call(daemon, arguments):
    """announce-self on a session of its own; a function that gives its reply, or error text."""
    result = []

    def run():
        with daemon.connect() as qmp:
            try:
                result.append(qmp.command("announce-self", arguments, timeout=30))
            except migdtest.QmpError as e:
                result.append(e.desc)

    thread = threading.Thread(target=run)
    thread.start()

    def finish():
        thread.join(40)
        return result
    return finish


def names(request):
    """The interfaces of a round."""
    count, length = struct.unpack_from("<II", request.body)
    rows, found = request.body[8:], []
    assert len(rows) == length, request.body
    while rows:
        n, = struct.unpack_from("<H", rows)
        found.append(rows[2:2 + n].decode())
        rows = rows[2 + n:]
    assert len(found) == count, request.body
    return found


def rounds(peer, n):
    for _ in range(n):
        peer.reply(peer.request(ANNOUNCE))


def no_more(t, daemon, peer):
    """Nothing is waiting: another request is the next that comes."""
    reply = call(daemon, {**LONG, "rounds": 1, "interfaces": ["last"], "id": "last"})
    request = peer.request(ANNOUNCE)
    t.check(names(request) == ["last"], f"another round came: {names(request)}")
    peer.reply(request)
    t.check(reply() == [{}], f"{reply()}")


def test_rounds_are_counted(t):
    daemon = t.daemon("a")
    peer = attached(daemon)
    reply = call(daemon, {**AT_ONCE, "rounds": 4})
    request = peer.request(ANNOUNCE)
    t.check(names(request) == [], "all interfaces")
    peer.reply(request)
    t.check(reply() == [{}], f"answered after the first round: {reply()}")
    rounds(peer, 3)
    no_more(t, daemon, peer)


def test_interfaces(t):
    daemon = t.daemon("a")
    peer = attached(daemon)
    reply = call(daemon, {**AT_ONCE, "rounds": 2, "interfaces": ["net0", "net1"]})
    for _ in range(2):
        request = peer.request(ANNOUNCE)
        t.check(names(request) == ["net0", "net1"], f"{names(request)}")
        peer.reply(request)
    t.check(reply() == [{}], f"{reply()}")


def test_ids(t):
    daemon = t.daemon("a")
    peer = attached(daemon)
    for arguments in ({**LONG, "rounds": 5, "id": "one"}, {**LONG, "rounds": 5, "id": "two"},  # both wait
                      {**LONG, "rounds": 9},  # and one without an id
                      {**AT_ONCE, "rounds": 3, "id": "one"}):  # in the place of the first
        reply = call(daemon, arguments)
        rounds(peer, 1)
        t.check(reply() == [{}], f"{arguments}: {reply()}")
    rounds(peer, 2)
    no_more(t, daemon, peer)
    t.check(call(daemon, {**AT_ONCE, "rounds": 0, "id": "two"})() == [{}], "0 rounds drop a timer")
    no_more(t, daemon, peer)


def test_what_is_wrong_is_said(t):
    daemon = t.daemon("a")
    peer = attached(daemon)
    good = {**LONG, "rounds": 1}
    for change, word in (({"initial": 100001}, "announce_initial"), ({"max": 100001}, "announce_max"),
                         ({"rounds": 1001}, "announce_rounds"), ({"step": 0}, "announce_step"),
                         ({"initial": -1}, "initial"), ({"interfaces": [""]}, "interfaces"),
                         ({"interfaces": ["x" * 128]}, "interfaces"), ({"interfaces": ["x"] * 65}, "interfaces")):
        reply = call(daemon, {**good, **change})()
        t.check(word in str(reply), f"{change}: {reply}")
    reply = call(daemon, good)
    peer.refuse(peer.request(ANNOUNCE), attach_peer.BAD_STATE, "no network")
    t.check("refused ANNOUNCE: no network" in str(reply()), f"{reply()}")
    no_more(t, daemon, peer)
    reply = call(daemon, good)
    peer.request(ANNOUNCE)
    peer.close()
    t.check("is gone" in str(reply()), f"{reply()}")


migdtest.main(kvm=False)
