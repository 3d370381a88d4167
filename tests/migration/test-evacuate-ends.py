#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""A destination dies while a host is emptied onto it; the evacuation is cancelled in the middle."""

import os

import migdtest
from migd_evacuate import Source, by_name, host
from migd_process import wait_until



def test_destination_dies(t):
    """Its host is lost in the middle: what was on its way there goes elsewhere, what has gone is lost with it."""
    b, c = host(t, "b"), host(t, "c")
    a = Source(t, 6, max_outgoing=2)
    for guest in a.guests:
        t.fill(guest, 20 << 20, 8 << 20)
        t.make_slow(guest, 16 << 20)
        guest.set(reconnect_timeout=1000)
    a.evacuate(b, c)
    wait_until(lambda: any(g["state"] == "migrating" and g["destination"] == b.uri() and
                           t_sent(a, g["guest"]) for g in a.info()["guests"]), "one is on its way there")
    lost = [n for n, g in by_name(a.info()).items() if g["state"] == "completed" and g["destination"] == b.uri()]
    die(t, b)
    info = by_name(a.wait_end("completed", timeout=100))
    lost += [n for n, g in info.items() if g["destination"] == b.uri()]
    t.check(all(g["destination"] == c.uri() for n, g in info.items() if n not in lost), f"{info}")
    t.check(any(g["tries"] == 2 for g in info.values()), f"those on their way were tried again: {info}")
    a.assert_everybody_runs_once(c, gone=lost)


def t_sent(a, name):
    info = a.daemon.qmp.command("query-migrate", {"guest": name})
    return info.get("status") == "active" and info.get("ram", {}).get("transferred", 0) > 1 << 16


def die(t, dying):
    """The daemon, its workers and its VMMs, as if the host had been switched off."""
    pids = [g["pid"] for g in dying.guests().values()] + dying.daemon.workers()
    dying.daemon.kill()
    for pid in pids:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass


def test_cancelled(t):
    """In the middle: what has gone has gone, what is on its way comes back, what waits was never touched."""
    b, c = host(t, "b"), host(t, "c")
    a = Source(t, 6, max_outgoing=2)
    for guest in a.guests[2:]:
        t.fill(guest, 20 << 20, 8 << 20)
        t.make_slow(guest)
    a.evacuate(b, c)
    a.wait_state("completed", n=2)
    t.wait_active(a.guests[2])
    a.daemon.qmp.command("evacuate-cancel")
    info = by_name(a.wait_end("cancelled"))
    t.check([info[f"g{i}"]["state"] for i in range(6)] == ["completed"] * 2 + ["cancelled"] * 4, f"{info}")
    a.assert_everybody_runs_once(b, c)
    t.check(b.called_for("g5") is None and c.called_for("g5") is None, "the last one was never announced")
    for h in b, c:
        h.wait_quiet("g2", "g3", "g4", "g5")


def test_cancelled_but_those_that_run(t):
    b = host(t, "b")
    a = Source(t, 3, max_outgoing=1)
    for guest in a.guests:
        t.fill(guest, 20 << 20, 8 << 20)
        t.make_slow(guest)
    a.evacuate(b)
    t.wait_active(a.guests[0])
    a.daemon.qmp.command("evacuate-cancel", {"running": False})
    a.wait_state("cancelled", n=2)
    t.check(a.info()["totals"]["status"] == "cancelling" and a.states()["g0"] == "migrating", f"{a.info()}")
    a.guests[0].set(max_bandwidth=0)
    t.check(by_name(a.wait_end("cancelled"))["g0"]["state"] == "completed", "it went on")
    a.assert_everybody_runs_once(b)


migdtest.main()
