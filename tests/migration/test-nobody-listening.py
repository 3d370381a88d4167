#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""Where nobody listens, the migration fails, says so everywhere, and the guest runs on."""

import os
import socket

import migdtest


def test_tcp(t):
    src, dst = t.pair()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        src.command("migrate", {"uri": f"tcp:127.0.0.1:{port}"})
        text = t.assert_failed(src, f"127.0.0.1:{port}", "refused")
    t.check(text in src.daemon.log_text(), f"the log has {text!r}")
    t.assert_untouched(src)
    t.migrate(src, dst)
    t.assert_runs(dst)


def test_unix(t):
    src, dst = t.pair()
    path = os.path.join(t.dir, "nobody")
    src.command("migrate", {"uri": "unix:" + path})
    t.assert_failed(src, path)
    t.assert_untouched(src)
    t.migrate(src, dst)


def test_unknown_host(t):
    src, _ = t.pair()
    src.command("migrate", {"uri": "tcp:no-such-host.invalid:1234"})
    t.assert_failed(src, "no-such-host.invalid")
    t.assert_untouched(src)


migdtest.main()
