#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""migctl alone is enough to migrate a guest, and its exit status says what came of it."""

import json
import re

import migd_ctl
import migdtest
from migd_ctl import ctl


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
    t.check(status == 6 and "cancelled" in err, f"{status} {err!r}")
    t.assert_untouched(src)
    status, _, err = migd_ctl.run(src.daemon.qmp_path, "migrate", "tcp:127.0.0.1:1")
    t.check(status == 5 and "127.0.0.1:1" in err, f"{status} {err!r}")


def test_snapshot(t):
    """The guest runs on, and the capability is as it was."""
    src, dst = t.pair(working_set="8M")
    out = ctl(t, src.daemon, "-g", "g", "snapshot", f"file:{t.dir}/guest")
    t.check("completed in" in out, out)
    t.assert_untouched(src)
    t.check(re.search(r"^background-snapshot +off$", ctl(t, src.daemon, "set"), re.M), "it is off again")
    status, _, err = migd_ctl.run(src.daemon.qmp_path, "snapshot", f"file:{t.dir}/nowhere/guest")
    t.check(status in (1, 5) and "nowhere" in err, f"{status} {err!r}")
    t.check(re.search(r"^background-snapshot +off$", ctl(t, src.daemon, "set"), re.M), "it is off again")
    ctl(t, dst.daemon, "incoming", "--wait", f"file:{t.dir}/guest")
    t.assert_runs(dst)


def test_preflight(t):
    src, dst = t.pair(dst_changes={"memory": "32M", "cpus": 1}, cpus=2)
    uri = re.search(r"tcp:\S+", ctl(t, dst.daemon, "incoming", "tcp:127.0.0.1:0")).group()
    status, out, err = migd_ctl.run(src.daemon.qmp_path, "migrate", "--preflight", uri)
    t.check(status == 1 and "does not fit" in err, f"{status} {err!r}")
    t.check(re.search(r"^subject +source +destination +what to do$", out, re.M), out)
    t.check(re.search(r"^ram block '.*' +64 MiB +32 MiB +start the target", out, re.M), out)
    t.check(re.search(r"^vCPUs +2 +1 +start the target", out, re.M), out)
    status, out, _ = migd_ctl.run(src.daemon.qmp_path, "--json", "migrate", "--preflight", uri)
    t.check(status == 1 and json.loads(out.splitlines()[0])["result"] == "fail", out)
    t.check("mismatches with the other side" in ctl(t, src.daemon, "status"), "status tells, too")
    dst.kill()
    right = t.incoming(dst.daemon, t.options)
    uri = re.search(r"tcp:\S+", ctl(t, dst.daemon, "incoming", "tcp:127.0.0.1:0")).group()
    t.check("fits" in ctl(t, src.daemon, "migrate", "--preflight", uri), "now it fits")
    status, _, err = migd_ctl.run(src.daemon.qmp_path, "migrate", "--preflight", "tcp:127.0.0.1:1")
    t.check(status == 1 and "could not be compared" in err and "127.0.0.1:1" in err, f"{status} {err!r}")
    t.assert_untouched(src)
    ctl(t, src.daemon, "migrate", uri)
    t.assert_only_runs(right, src)


migdtest.main()
