#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A URI that makes no sense is refused in the reply, says why, and changes nothing."""

import migdtest

WRONG = ("", "tcp", "tcp:", "tcp:127.0.0.1", "tcp:127.0.0.1:", "tcp:[::1:4444", "tcp:127.0.0.1:99999",
         "tcp:127.0.0.1:-1", "tcp:127.0.0.1:44 44", "tcp:127.0.0.1:4444,nonsense", "tcp:127.0.0.1:4444,to=abc", "unix:",
         "unix:/" + "x" * 200, "ftp:127.0.0.1:4444", "127.0.0.1:4444", "exec:cat", "fd:3")


def test_wrong_uri(t):
    src, dst = t.pair()
    for uri in WRONG:
        for vmm, command in (src, "migrate"), (dst, "migrate-incoming"):
            t.assert_refused(vmm, command, {"uri": uri})
            t.check(vmm.status() == "none", f"{command} {uri!r} left status {vmm.status()}")
    t.migrate(src, dst)
    t.assert_runs(dst)


def test_no_address(t):
    src, dst = t.pair()
    t.assert_refused(src, "migrate", {})
    t.assert_refused(dst, "migrate-incoming", {})
    t.assert_refused(src, "migrate", {"uri": "tcp:127.0.0.1:1", "channels": [
        {"channel-type": "main", "addr": {"transport": "socket", "type": "unix", "path": "/x"}}]})


migdtest.main()
