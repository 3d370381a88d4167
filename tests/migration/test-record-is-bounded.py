#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""A record has no more events than it may have, however many there are; what is left out is in the middle."""

import os

import migdtest
from migd_record import events, record_of

EVENTS = 256


def test_more_events_than_are_kept(t):
    src, dst = t.pair(working_set="1M")
    t.fill(src)
    t.make_slow(src, 256 << 10)
    t.start(src, dst)
    t.wait_active(src)
    for n in range(EVENTS + 60):
        src.set(downtime_limit=n)
    # One whose text is longer than is kept, and is cut within a character.
    src.set(tls_hostname="ä" * 400)
    r = record_of(src)
    t.check(len(r["events"]) == EVENTS, f"{len(r['events'])} events")
    commands = events(r, "command")
    t.check('{"downtime-limit":0}' in commands[0] and '{"downtime-limit":%d}' % (EVENTS + 59) in commands[-2],
            f"the first and the last are there: {commands[0]}, {commands[-2:]}")
    t.check(commands[-1].startswith("migrate-set-parameters {") and len(commands[-1].encode()) < 256, commands[-1])
    src.set(tls_hostname="")
    src.command("migrate_cancel")
    t.wait_end(src)
    path = os.path.join(src.daemon.state_dir, "records", r["id"] + ".json")
    t.check(os.path.getsize(path) < 256 << 10, f"its file has {os.path.getsize(path)} bytes")


migdtest.main()
