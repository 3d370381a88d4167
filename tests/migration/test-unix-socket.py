#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""Migration over a Unix socket; a stale socket file is no obstacle, a live one is."""

import os
import socket

import migdtest
from migd_process import wait_until


def test_over_unix_socket(t):
    src, dst = t.pair(working_set="4M")
    path = os.path.join(t.dir, "stream")
    t.migrate(src, dst, "unix:" + path)
    t.assert_memory_verified(dst)
    wait_until(lambda: not os.path.exists(path), "the socket's file goes when the migration is over")


def test_nothing_came(t):
    """Nor does a listener that was cancelled leave one; one that a client made is the client's."""
    _, dst = t.pair()
    path = os.path.join(t.dir, "stream")
    t.listen(dst, "unix:" + path)
    t.check(os.path.exists(path), "it listens")
    dst.command("migrate_cancel")
    wait_until(lambda: not os.path.exists(path), "the socket's file goes with the listener")
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(path)
        own.listen(1)
        dst.daemon.qmp.command("getfd", {"fdname": "own"}, fds=[own.fileno()])
        t.listen(dst, "fd:own")
        dst.command("migrate_cancel")
        wait_until(lambda: dst.status() == "cancelled" and not dst.daemon.workers(), "it is cancelled")
    t.check(os.path.exists(path), "a client's socket stays")


def test_next_daemon_removes_it(t):
    src, dst = t.pair(working_set="4M")
    path = os.path.join(t.dir, "stream")
    t.make_slow(src)
    t.start(src, dst, "unix:" + path)
    t.wait_active(src)
    dst.daemon.kill()
    t.check(os.path.exists(path), "the worker listens on")
    dst.daemon = t.daemon("b")
    dst.wait_attached()
    t.speed_up(src)
    t.check(t.wait_end(src)["status"] == "completed", f"{src.migration()}")
    wait_until(lambda: not os.path.exists(path), "the next daemon removes it at the end")


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
