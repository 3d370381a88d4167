#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""Parameters and capabilities: defaults, all or nothing, one set a guest, and no belief in what is not there."""

import migdtest
from attach_peer import attached, refused

SUPPORTED = {"auto-converge", "background-snapshot", "events", "mapped-ram", "multifd", "late-block-activate",
             "pause-before-switchover", "postcopy-blocktime", "postcopy-ram", "release-ram", "return-path",
             "switchover-ack", "validate-uuid", "x-ignore-shared", "xbzrle", "zero-blocks"}

# What a capability is refused without.
REQUIRES = {"switchover-ack": "return-path"}


def parameters(daemon, guest):
    return daemon.qmp.command("query-migrate-parameters", {"guest": guest})


def capabilities(daemon, guest):
    answer = daemon.qmp.command("query-migrate-capabilities", {"guest": guest})
    return {c["capability"]: c["state"] for c in answer}


def test_parameters(t):
    daemon = t.daemon("a")
    _peers = attached(daemon, "one"), attached(daemon, "two")
    before = parameters(daemon, "one")
    t.check((before["downtime-limit"], before["max-bandwidth"], before["tls-creds"]) == (300, 134217728, ""), f"{before}")
    daemon.qmp.command("migrate-set-parameters", {"guest": "one", "downtime-limit": 50})
    daemon.qmp.command("set-parameters", {"guest": "one", "max-bandwidth": 0})
    t.check(parameters(daemon, "one") == {**before, "downtime-limit": 50, "max-bandwidth": 0}, "both are set, no other is")
    t.check(parameters(daemon, "two") == before, "the other guest has its own")


def test_parameters_are_all_or_nothing(t):
    daemon = t.daemon("a")
    _peer = attached(daemon, "one")
    before = parameters(daemon, "one")
    for wrong, word in (({"downtime-limit": 2000001}, "downtime_limit"), ({"max-cpu-throttle": 10}, "max_cpu_throttle"),
                        ({"tls-creds": 1}, "StrOrNull"), ({"nonsense": 1}, "nonsense")):
        refused(t, daemon, "migrate-set-parameters", {"max-bandwidth": 1, **wrong}, word)
        t.check(parameters(daemon, "one") == before, f"{wrong} changed something")
    for right in {"tls-creds": ""}, {"tls-creds": None}, {"mode": "cpr-exec"}, {"mode": "normal"}:
        daemon.qmp.command("migrate-set-parameters", right)
    t.check(parameters(daemon, "one") == before, "what was set is what it was")


def test_capabilities(t):
    daemon = t.daemon("a")
    _peers = attached(daemon, "one"), attached(daemon, "two")
    off = capabilities(daemon, "one")
    t.check(not any(off.values()) and len(off) == 22, f"{off}")
    for name in off:
        status = [{"capability": "events", "state": True}, {"capability": name, "state": True}]
        if name in REQUIRES:
            refused(t, daemon, "migrate-set-capabilities", {"guest": "one", "capabilities": status}, name, REQUIRES[name])
            status.append({"capability": REQUIRES[name], "state": True})
        if name in SUPPORTED:
            daemon.qmp.command("migrate-set-capabilities", {"guest": "one", "capabilities": status})
            t.check(capabilities(daemon, "one") == {**off, **{s["capability"]: True for s in status}}, name)
        else:
            refused(t, daemon, "migrate-set-capabilities", {"guest": "one", "capabilities": status}, f"'{name}'")
            t.check(capabilities(daemon, "one") == off, f"{name}: something changed")
        daemon.qmp.command("migrate-set-capabilities", {"guest": "one", "capabilities": [
            {"capability": n, "state": False} for n in off]})
    daemon.qmp.command("migrate-set-capabilities", {"guest": "two", "capabilities": [
        {"capability": "events", "state": True}, {"capability": "events", "state": False}]})
    t.check(capabilities(daemon, "two") == off, "the last of two entries counts")


def test_new_guest_starts_from_defaults(t):
    daemon = t.daemon("a")
    peer = attached(daemon, "one")
    before = parameters(daemon, "one")
    daemon.qmp.command("migrate-set-parameters", {"downtime-limit": 1})
    peer.close()
    daemon.qmp.wait_event("GUEST_DETACHED")
    _peer = attached(daemon, "one")
    t.check(parameters(daemon, "one") == before, "it inherited its namesake's settings")


migdtest.main(kvm=False)
