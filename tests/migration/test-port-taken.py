#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A port that is taken is an error in the reply, and another one can be tried."""

import socket

import migdtest


def test_port_taken(t):
    src, dst = t.pair()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        t.assert_refused(dst, "migrate-incoming", {"uri": f"tcp:127.0.0.1:{port}"}, f"127.0.0.1:{port}", "in use")
    t.check(dst.status() == "none", f"the destination is back to none, not {dst.status()}")
    t.migrate(src, dst)
    t.assert_runs(dst)


def test_range_of_ports(t):
    src, dst = t.pair()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        uri = t.listen(dst, f"tcp:127.0.0.1:{port},to={port + 20}")
        t.check(uri != f"tcp:127.0.0.1:{port}", f"it listens on another port than {uri}")
        src.command("migrate", {"uri": uri})
        t.wait_end(src)
    t.assert_runs(dst)


migdtest.main()
