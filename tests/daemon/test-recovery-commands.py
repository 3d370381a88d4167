#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""migrate-pause, migrate-recover and migrate's resume where nothing is paused: refused, out of band too, and nothing changes."""

import migdtest
from attach_peer import attached, refused

FIRST_URI = "tcp:127.0.0.1:0"


def test_nothing_is_paused(t):
    daemon = t.daemon("a")
    _peer = attached(daemon, "one")
    refused(t, daemon, "migrate-pause", {}, "postcopy-active or postcopy-recover", "'none'")
    refused(t, daemon, "migrate-recover", {"uri": FIRST_URI}, "paused", "'none'")
    refused(t, daemon, "migrate", {"uri": FIRST_URI, "resume": True}, "no paused post-copy migration", "one")
    t.check("status" not in daemon.qmp.command("query-migrate"), "there was no migration, and there is none")


def test_addresses_are_checked_first(t):
    daemon = t.daemon("a")
    _peer = attached(daemon, "one")
    refused(t, daemon, "migrate-recover", {"uri": "nonsense"}, "nonsense")
    refused(t, daemon, "migrate-recover", {}, "uri")
    refused(t, daemon, "migrate", {"resume": True}, "'uri'")


def test_they_may_overtake(t):
    schema = t.daemon("a").qmp.command("query-qmp-schema")
    oob = {e["name"] for e in schema if e.get("allow-oob")}
    t.check({"migrate-pause", "migrate-recover"} <= oob, f"{oob}")



migdtest.main(kvm=False)
