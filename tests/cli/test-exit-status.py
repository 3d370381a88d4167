#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""The exit status, by a real daemon: no such guest, not permitted, nobody there."""

import os
import subprocess

import migd_ctl
import migdtest

NOBODY = 65534


def as_nobody(path, *args):
    """Run migctl as somebody else."""
    env = {**os.environ, "MIGD_SOCKET": path}
    done = subprocess.run([migd_ctl.program("migctl"), *args], capture_output=True, text=True, env=env, user=NOBODY, group=NOBODY,
                          extra_groups=[], timeout=60)
    return done.returncode, done.stderr


def test_no_such_guest(t):
    daemon = t.daemon("a")
    for args in ("-g", "web1", "status"), ("stop",), ("detach", "web1"), ("-g", "web1", "watch"):
        status, _, err = migd_ctl.run(daemon.qmp_path, *args)
        t.check(status == 4, f"{args}: {status} {err!r}")


def test_not_permitted(t):
    migdtest.need_root()
    daemon = t.daemon("a")
    os.chmod(t.dir, 0o755)
    os.chmod(os.path.dirname(daemon.qmp_path), 0o755)
    os.chmod(daemon.qmp_path, 0o600)
    status, err = as_nobody(daemon.qmp_path, "guests")
    t.check(status == 8 and "ermission" in err, f"{status} {err!r}")
    status, err = as_nobody(os.path.join(t.dir, "nobody"), "guests")
    t.check(status == 3, f"{status} {err!r}")


def test_lacks_a_right(t):
    """Who may connect may not do everything: section [access]."""
    migdtest.need_root()
    path = os.path.join(t.dir, "migd.conf")
    with open(path, "w") as f:
        f.write("[access]\nread = *\noperate = *\nadmin =\n")
    daemon = t.daemon("a", extra=("--config", path))
    for place in t.dir, os.path.dirname(daemon.qmp_path):
        os.chmod(place, 0o755)
    os.chmod(daemon.qmp_path, 0o666)
    status, err = as_nobody(daemon.qmp_path, "guests")
    t.check(status == 0, f"{status} {err!r}")
    for args in ("host", "max-outgoing=1"), ("object-del", "tls0"), ("quit",):
        status, err = as_nobody(daemon.qmp_path, *args)
        t.check(status == 8 and "[access]" in err, f"{args}: {status} {err!r}")


migdtest.main(kvm=False)
