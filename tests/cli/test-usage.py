#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""migctl's command line: what is wrong is said, with exit status 2, before anything is asked of the daemon."""

import os

import migd_ctl
import migdtest

WRONG = ((), ("nonsense",), ("migrate",), ("migrate", "a", "b"), ("guests", "x"), ("--nonsense", "guests"),
         ("-g",), ("guests", "--fenced"), ("-g", "x", "guests"), ("resolve", "run"), ("attach", "only-one"))


def test_wrong_usage(t):
    for args in WRONG:
        status, out, err = migd_ctl.run("/nonexistent", *args)
        t.check(status == 2 or args == ("resolve", "run"), f"{args}: status {status}, {err!r}")
        t.check(err.startswith("migctl: ") and not out, f"{args}: {out!r} {err!r}")


def test_help_and_version(t):
    for args in ("--help",), ("-h",), ("migrate", "--help"):
        status, out, _ = migd_ctl.run("/nonexistent", *args)
        t.check(status == 0 and "migrate" in out and "Exit status" in out, f"{args}: {out!r}")
    status, out, _ = migd_ctl.run("/nonexistent", "--version")
    t.check(status == 0 and out.startswith("migctl "), out)


def test_no_daemon(t):
    path = os.path.join(t.dir, "nobody")
    status, out, err = migd_ctl.run(path, "guests")
    t.check(status == 3 and not out and path in err, f"{status} {out!r} {err!r}")
    status, out, err = migd_ctl.run(path, "--json", "guests")
    t.check(status == 3 and '"error"' in out, f"{status} {out!r} {err!r}")


migdtest.main(kvm=False)
