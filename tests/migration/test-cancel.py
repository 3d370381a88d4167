#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""migrate_cancel takes effect within 100 ms in every state before RELEASE, and the guest runs on."""

import socket
import time

import migdtest


def test_while_connecting(t):
    """A peer whose queue is full: the connection is never made."""
    src, _ = t.pair()
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        uri = f"tcp:127.0.0.1:{full.getsockname()[1]}"
        t.assert_cancels_in_time(src, lambda: src.command("migrate", {"uri": uri}))
        for filler in fillers:
            filler.close()


def test_while_the_peer_is_silent(t):
    """A peer that accepts and never answers."""
    src, _ = t.pair()
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        uri = f"tcp:127.0.0.1:{silent.getsockname()[1]}"

        def prepare():
            src.command("migrate", {"uri": uri})
            time.sleep(0.05)
        t.assert_cancels_in_time(src, prepare)


def test_while_active(t):
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    made = [dst]

    def prepare():
        if len(made) > 1:
            made[-1].kill()
            made.append(t.incoming(dst.daemon, t.options))
        t.start(src, made[-1])
        t.wait_active(src)
        made.append(made[-1])
    t.assert_cancels_in_time(src, prepare)
    t.assert_failed(made[-1])
    t.assert_stopped(made[-1])


def test_while_the_peer_reads_nothing(t):
    """The socket's buffers are full, and the worker waits to write."""
    src, dst = t.pair(working_set="16M")
    link = t.proxy(int(t.listen(dst).rpartition(":")[2]), rule=lambda d, n, c: time.sleep(60) if n == "part-ram" else None)
    src.set(max_bandwidth=0)
    src.command("migrate", {"uri": link.uri})
    t.wait_active(src)
    time.sleep(0.2)
    took = t.cancel(src)
    t.check(took < 3 * migdtest.CANCEL_SECONDS * migdtest.SLOW, f"cancelling took {took} s")


def test_nothing_to_cancel(t):
    src, dst = t.pair()
    src.command("migrate_cancel")
    t.check(src.status() == "none", f"the status is {src.status()}")
    t.migrate(src, dst)
    dst.command("migrate_cancel")
    t.check(dst.status() == "completed", f"the status is {dst.status()}")


def test_again_after_cancel(t):
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    t.cancel(src)
    t.assert_failed(dst)
    dst.kill()
    again = t.incoming(dst.daemon, t.options)
    t.speed_up(src)
    t.migrate(src, again)
    t.assert_memory_verified(again, rounds=2 * again.mem.detail(1))


def test_the_waiting_side(t):
    """A destination that listens stops listening."""
    src, dst = t.pair()
    uri = t.listen(dst)
    dst.command("migrate_cancel")
    migdtest.wait_until(lambda: dst.status() == "cancelled", "the destination stops listening")
    src.command("migrate", {"uri": uri})
    t.assert_failed(src)
    t.assert_untouched(src)


migdtest.main()
