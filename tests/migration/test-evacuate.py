#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""A host is emptied onto others: who goes where, in what order, and what is told."""

import migdtest
from migd_evacuate import OPTIONS, Source, host


def destinations(info):
    return {g["guest"]: g.get("destination") for g in info["guests"]}


def test_two_destinations(t):
    b, c = host(t, "b"), host(t, "c")
    a = Source(t, 6, max_outgoing=2)
    a.daemon.drop_session()
    a.evacuate(b, c)
    t.check(a.states() and set(a.states().values()) <= {"waiting", "migrating"}, f"{a.states()}")
    info = a.wait_end("completed")
    went = destinations(info)
    t.check(sorted(went.values()) == sorted([b.uri(), c.uri()] * 3), f"half of them each: {went}")
    t.check(went["g0"] == b.uri() and went["g1"] == c.uri(), f"of the same size in the order of names: {went}")
    totals = info["totals"]
    t.check(totals["completed"] == totals["total"] == 6 and totals["memory-moved"] == totals["memory"] == 6 * (32 << 20)
            and totals["stayed"] == 0, f"{totals}")
    t.check(all(g["tries"] == 1 and "error" not in g for g in info["guests"]), f"{info}")
    places = a.assert_everybody_runs_once(b, c)
    t.check(all(p.host.uri() == went[name] for name, p in places.items()), "where it says")
    told, last = [], None
    while last not in ("completed", "incomplete"):
        last = a.daemon.qmp.wait_event("EVACUATION", timeout=10)["data"]["status"]
        told.append(last)
    t.check(told == ["running", "completed"], f"events: {told}")


def test_weights_and_room(t):
    """Twice the weight is twice the memory; no more than there is room for; one whose destination is fixed."""
    b, c = host(t, "b"), host(t, "c")
    a = Source(t, 6)
    a.evacuate({"uri": b.uri(), "weight": 2, "max-guests": 3}, {"uri": c.uri(), "max-memory": 64 << 20},
               assignments=[{"guest": "g5", "uri": c.uri()}], **{"except": ["g4"]})
    info = a.wait_end("completed")
    went = destinations(info)
    t.check("g4" not in went, f"{went}")
    t.check(went["g5"] == c.uri() and list(went.values()).count(b.uri()) == 3, f"{went}")
    a.assert_everybody_runs_once(b, c)
    # Nobody has room for this one.
    a.evacuate({"uri": b.uri(), "max-guests": 0})
    info = a.wait_end("incomplete")
    t.check([g["guest"] for g in info["guests"]] == ["g4"] and "no destination has room" in info["guests"][0]["error"], f"{info}")
    a.assert_everybody_runs_once(b, c)


def test_largest_first(t):
    b, c = host(t, "b", memory="$(sed -n 's/.*\"memory\": *\\([0-9]*\\).*/\\1/p' {dir}/$1.json)".replace("{dir}", t.dir + "/b-arrivals")), \
        host(t, "c", memory="32M")
    a = Source(t, 3, sizes=["32M", "96M", "32M"])
    a.evacuate(b, c)
    info = a.wait_end("completed")
    t.check(destinations(info) == {"g0": c.uri(), "g1": b.uri(), "g2": c.uri()}, f"{info}")
    a.assert_everybody_runs_once(b, c)


def test_bad_plans(t):
    a = Source(t, 1)
    here = {"uri": "tcp:127.0.0.1:1"}
    a.refused({"destinations": []}, "1 to 64")
    a.refused({"destinations": [{"uri": "file:/tmp/x"}]}, "shared port")
    a.refused({"destinations": [{"uri": "tcp:127.0.0.1"}]}, "destination 'tcp:127.0.0.1'")
    a.refused({"destinations": [here, here]}, "twice")
    a.refused({"destinations": [{**here, "weight": 0}]}, "weight")
    a.refused({"destinations": [here], "guests": ["nobody"]}, "'nobody' is not here")
    a.refused({"destinations": [here], "priority": 9}, "-8 to 8")
    a.refused({"destinations": [here], "assignments": [{"guest": "g0", "uri": "tcp:h:2"}]}, "none of the destinations")
    t.check(a.info()["totals"]["status"] == "none", f"{a.info()}")
    t.assert_untouched(a.guests[0])


def test_without_announcements(t):
    """VMMs that were started by hand wait at the shared port."""
    b = host(t, "b", command="")
    a = Source(t, 2)
    targets = [t.incoming(b.daemon, OPTIONS, name=g.name) for g in a.guests]
    for target in targets:
        target.command("migrate-incoming", {"uri": "shared:"})
    a.evacuate(b, start_remote=False)
    a.wait_end("completed")
    for src, dst in zip(a.guests, targets):
        t.assert_only_runs(dst, src)


migdtest.main()
