#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""Migration over a Unix socket; a stale socket file is no obstacle, a live one is."""

import os
import socket

import migdtest


def test_over_unix_socket(t):
    src, dst = t.pair(working_set="4M")
    path = os.path.join(t.dir, "stream")
    t.migrate(src, dst, "unix:" + path)
    t.assert_memory_verified(dst)


def test_stale_file_is_replaced(t):
    src, dst = t.pair()
    path = os.path.join(t.dir, "stream")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    t.migrate(src, dst, "unix:" + path)
    t.assert_runs(dst)


def test_other_peoples_socket_is_left_alone(t):
    src, dst = t.pair()
    path = os.path.join(t.dir, "stream")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen(1)
        t.assert_refused(dst, "migrate-incoming", {"uri": "unix:" + path}, "in use", path)
        t.check(os.path.exists(path), "the socket is still there")
    t.migrate(src, dst)


migdtest.main()
