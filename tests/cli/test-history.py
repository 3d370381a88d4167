#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""`migctl history`, `record` and `forget`, of migrations that were."""

import json
import re

import migd_ctl
import migdtest
from migd_ctl import ctl

TITLES = ["ID", "BEGAN", "GUEST", "WAY", "STATUS", "TOOK", "SENT", "DOWNTIME", "ADDRESS"]


def rows(t, daemon, *args):
    head, *lines = ctl(t, daemon, *args).splitlines()
    t.check(head.split() == TITLES, head)
    return [re.split(r" {2,}", line.strip()) for line in lines]


def test_one_that_failed_and_one_that_arrived(t):
    """The last one comes first."""
    src, dst = t.pair(working_set="1M")
    t.check(rows(t, src.daemon, "history") == [], "nothing was yet")
    status, _, _ = migd_ctl.run(src.daemon.qmp_path, "migrate", "tcp:127.0.0.1:1")
    t.check(status == 5, f"{status}")
    uri = t.listen(dst)
    ctl(t, src.daemon, "migrate", uri)
    arrived, failed = rows(t, src.daemon, "history")
    t.check(arrived[2:5] == ["g", "outgoing", "completed"] and arrived[7].endswith(" ms") and arrived[8] == uri, f"{arrived}")
    t.check(failed[2:5] == ["g", "outgoing", "failed"] and failed[7:] == ["-", "tcp:127.0.0.1:1"], f"{failed}")
    t.check(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", arrived[1]), arrived[1])
    t.check(rows(t, src.daemon, "history", "1") == [arrived], "as many as were asked for")
    t.check(rows(t, src.daemon, "-g", "another", "history") == [], "of another guest there is none")
    listed = json.loads(ctl(t, src.daemon, "--json", "history"))
    t.check([m["id"][:12] for m in listed] == [arrived[0], failed[0]], f"{listed}")
    t.check("number" in ctl(t, src.daemon, "history", "all", status=2), "it says that a number was expected")
    _record(t, src.daemon, listed)
    _forget(t, src.daemon, listed, failed)


def _record(t, daemon, listed):
    last = json.loads(ctl(t, daemon, "record"))
    t.check(last["id"] == listed[0]["id"] and last["phases"][-1]["status"] == "completed", f"{last}")
    t.check(json.loads(ctl(t, daemon, "-g", "g", "record")) == last, "that of the guest")
    t.check(json.loads(ctl(t, daemon, "--json", "record", last["id"][:12])) == last, "that which begins so")
    t.check("either" in ctl(t, daemon, "-g", "g", "record", last["id"], status=2), "not both")
    ctl(t, daemon, "record", "no-such-id", status=1)


def _forget(t, daemon, listed, kept):
    ctl(t, daemon, "forget", listed[0]["id"])
    t.check(rows(t, daemon, "history") == [kept], "the other is still there")
    ctl(t, daemon, "forget", listed[0]["id"], status=1)


migdtest.main()
