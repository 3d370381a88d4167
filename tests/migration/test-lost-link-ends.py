#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""The connection breaks in pre-copy, and what ends the wait for another one: time, a cancel, a word; and who is not let in."""

import os
import signal
import socket
import time

import migdtest
from migd_process import SLOW, wait_until

QUICK = 5  # seconds: well below the default of reconnect-timeout


def lose(t, src, dst, sent=256 << 10):
    """A migration that has lost its connection, and finds no other one as long as the proxy refuses it."""
    port = int(t.listen(dst).rpartition(":")[2])
    link = t.proxy(port, cuts=[("out", sent)], refuse_for=3600)
    src.daemon.qmp.skip_events()
    src.command("migrate", {"uri": link.uri})
    wait_until(link.was_cut.is_set, "the link breaks")
    wait_until(lambda: any(e.name == "MIGRATION_RECONNECT" for e in src.daemon.qmp.poll_events()), "the source tries again")
    t.check(src.status() == "active" and dst.status() == "active", f"both go on: {src.status()}, {dst.status()}")
    return link


def pair(t, **options):
    src, dst = t.pair(memory="32M", working_set="2M", **options)
    return src, dst


def test_time_is_up_at_both(t):
    src, dst = pair(t)
    src.set(reconnect_timeout=700)
    dst.set(reconnect_timeout=700)
    lose(t, src, dst)
    t.assert_failed(src, "reconnect-timeout", "700 ms")
    t.assert_failed(dst, "reconnect-timeout", "700 ms")
    t.assert_only_runs(src, dst)
    t.assert_untouched(src)


def test_time_is_up_at_the_target(t):
    """The source hears at once that nobody waits for it any more."""
    src, dst = pair(t)
    src.set(reconnect_timeout=60000)
    dst.set(reconnect_timeout=500)
    link = lose(t, src, dst)
    t.assert_failed(dst, "500 ms")
    link.stop_listening()
    started = time.monotonic()
    t.assert_failed(src, "no going on")
    t.check(time.monotonic() - started < 20 * SLOW, "the source does not wait for a minute")
    t.assert_untouched(src)


def test_time_is_up_at_the_source(t):
    src, dst = pair(t)
    src.set(reconnect_timeout=500)
    dst.set(reconnect_timeout=4000)
    lose(t, src, dst)
    t.assert_failed(src, "500 ms")
    t.assert_untouched(src)
    t.assert_failed(dst, "4000 ms")
    t.assert_stopped(dst)


def test_turned_off(t):
    src, dst = pair(t)
    src.set(reconnect_timeout=0)
    port = int(t.listen(dst).rpartition(":")[2])
    link = t.proxy(port, cuts=[("out", 256 << 10)])
    src.command("migrate", {"uri": link.uri})
    t.assert_failed(src)
    t.assert_failed(dst)
    t.check(len(link.clients) == 1, f"nobody tries again: {link.clients}")
    t.assert_untouched(src)


def test_cancelled_while_waiting(t):
    """Within 100 ms, on either side."""
    src, dst = pair(t)
    for side in src, dst:
        side.set(reconnect_timeout=60000)

    def prepare():
        nonlocal dst
        if dst.migration().get("status") in migdtest.ENDED:
            dst.kill()
            dst = t.incoming(t.b, t.options)
            dst.set(reconnect_timeout=60000)
        lose(t, src, dst)

    t.assert_cancels_in_time(src, prepare)
    took = []
    while not took or (min(took) > migdtest.CANCEL_SECONDS * SLOW and len(took) < 3):
        dst.kill()
        dst = t.incoming(t.b, t.options)
        link = lose(t, src, dst)
        started = time.monotonic()
        dst.command("migrate_cancel")
        t.check(t.wait_end(dst)["status"] == "cancelled", "cancelled at the destination")
        took.append(time.monotonic() - started)
        link.stop_listening()
        t.assert_failed(src, "no going on")
        t.assert_untouched(src)
    t.check(min(took) <= migdtest.CANCEL_SECONDS * SLOW, f"at the destination it took {took} s")


def test_given_up(t):
    """A source that gives up tells the target, which does not wait in vain."""
    src, dst = pair(t)
    dst.set(reconnect_timeout=600000)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    src.command("migrate_cancel")
    t.check(t.wait_end(src)["status"] == "cancelled", "cancelled")
    t.assert_failed(dst, "source gave the migration up")
    wait_until(lambda: not src.daemon.workers(), "the source's worker ends")


def test_others_are_refused(t):
    """Another migration, and what is none, are turned away while the target waits; its own source is let in."""
    src, dst = pair(t)
    port = int(t.listen(dst).rpartition(":")[2])
    link = t.proxy(port, cuts=[("out", 256 << 10)], refuse_for=3600)
    src.set(reconnect_timeout=60000)
    dst.set(reconnect_timeout=60000)
    src.command("migrate", {"uri": link.uri})
    wait_until(lambda: "waiting 60000 ms" in t.b.log_text(), "the destination waits")
    stranger = t.vmm(t.a, name="stranger", **t.options)
    t.assert_runs(stranger)
    stranger.command("migrate", {"uri": f"tcp:127.0.0.1:{port}"})
    t.assert_failed(stranger, "another migration", "its own source")
    t.assert_untouched(stranger)
    t.check("about another migration" in t.b.log_text(), "the destination's log names it")
    with socket.create_connection(("127.0.0.1", port)) as noise:
        noise.sendall(b"GET / HTTP/1.1\r\n\r\n")
    t.check(dst.status() == "active", f"it goes on waiting: {dst.migration()}")
    link.refuse_until = 0
    t.check(t.wait_end(src)["status"] == "completed", f"then its source comes back: {src.migration()}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_source_knows_first(t):
    """The target's connection looks alive and says nothing: it hears of the loss by the source that is back."""
    src, dst = pair(t)
    port = int(t.listen(dst).rpartition(":")[2])
    link = t.proxy(port)
    t.make_slow(src)
    src.command("migrate", {"uri": link.uri})
    t.wait_active(src)
    link.cut_source()
    wait_until(lambda: src.migration().get("reconnects"), "it goes on", timeout=30, alive=[src.daemon])
    t.speed_up(src)
    t.check(t.wait_end(src)["status"] == "completed", f"it completes: {src.migration()}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_target_is_gone(t):
    """Nobody listens any more: that is an answer, and ends it at once."""
    src, dst = pair(t)
    src.set(reconnect_timeout=600000)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    worker, = dst.daemon.workers()
    started = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    t.assert_failed(src, "no going on")
    t.check(time.monotonic() - started < QUICK * SLOW, f"after {time.monotonic() - started} s")
    t.assert_only_runs(src, dst)


def test_another_target_is_there(t):
    """Who listens at the address now has never heard of this migration: it says so, and goes on waiting for its own."""
    src, dst = pair(t)
    src.set(reconnect_timeout=600000)
    port = int(t.listen(dst).rpartition(":")[2])
    link = t.proxy(port, cuts=[("out", 256 << 10)], refuse_for=3600)
    src.command("migrate", {"uri": link.uri})
    wait_until(link.was_cut.is_set, "the link breaks")
    dst.kill()
    wait_until(lambda: not t.b.workers(), "the destination's worker ends")
    dst = t.incoming(t.b, t.options)
    t.listen(dst, f"tcp:127.0.0.1:{port}")
    link.refuse_until = 0
    t.assert_failed(src, "knows nothing of")
    t.assert_untouched(src)
    t.check(dst.status() == "setup", f"it waits: {dst.migration()}")
    src.command("migrate", {"uri": f"tcp:127.0.0.1:{port}"})
    t.check(t.wait_end(src)["status"] == "completed", f"its own comes: {src.migration()}")
    t.assert_only_runs(dst, src)


def test_device_in_the_way(t):
    """What a VMM's device sent cannot be had again: such a guest starts again, and is told so."""
    src, dst = t.pair(payload="vault", extra=("--vault", "4194304"), memory="32M")
    wait_until(lambda: src.mem.detail(0) >= 1, "the vault is full", timeout=60, alive=[src])
    port = int(t.listen(dst).rpartition(":")[2])
    link = t.proxy(port, cuts=[("out", 256 << 10)])
    src.command("migrate", {"uri": link.uri})
    t.assert_failed(src, "vault-memory", "cannot be sent again")
    t.assert_untouched(src)
    t.assert_failed(dst, "gave the migration up")


migdtest.main()
