#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""migctl alone is enough to migrate a guest, and its exit status says what came of it."""

import json
import re

import migd_ctl
import migdtest


def ctl(t, daemon, *args):
    status, out, err = migd_ctl.run(daemon.qmp_path, *args)
    t.check(status == 0, f"migctl {args}: status {status}, {err!r}")
    return out


def test_from_listening_to_done(t):
    src, dst = t.pair(working_set="8M")
    t.check("g" in ctl(t, src.daemon, "guests"), "the guest is listed")
    uri = re.search(r"tcp:\S+", ctl(t, dst.daemon, "incoming", "tcp:127.0.0.1:0")).group()
    ctl(t, src.daemon, "-g", "g", "set", "max-bandwidth=512M", "downtime-limit=200", "events=on")
    out = ctl(t, src.daemon, "-g", "g", "migrate", uri)
    t.check("completed in" in out and "blackout" in out, out)
    t.assert_only_runs(dst, src)
    t.check("running" in ctl(t, dst.daemon, "status"), "the destination says that it runs")
    t.check(json.loads(ctl(t, dst.daemon, "--json", "status"))["status"]["running"], "in JSON, too")


def test_cancel_and_failure(t):
    src, dst = t.pair(working_set="16M")
    uri = re.search(r"tcp:\S+", ctl(t, dst.daemon, "incoming", "tcp:127.0.0.1:0")).group()
    ctl(t, src.daemon, "set", "max-bandwidth=1M")
    ctl(t, src.daemon, "migrate", "--detach", uri)
    t.wait_active(src)
    t.check("active" in ctl(t, src.daemon, "status"), "status shows it")
    ctl(t, src.daemon, "cancel")
    status, _, err = migd_ctl.run(src.daemon.qmp_path, "watch")
    t.check(status == 1 and "cancelled" in err, f"{status} {err!r}")
    t.assert_untouched(src)
    status, _, err = migd_ctl.run(src.daemon.qmp_path, "migrate", "tcp:127.0.0.1:1")
    t.check(status == 1 and "127.0.0.1:1" in err, f"{status} {err!r}")


migdtest.main()
