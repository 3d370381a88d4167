#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""Capability switchover-ack: the source does not stop its guest before the destination said that it is ready."""

import migd_proxy
import migdtest
from migd_process import wait_until

ACK = {"capabilities": [{"capability": c, "state": True} for c in ("return-path", "switchover-ack")]}


def pair(t, *sides):
    src, dst = t.pair(working_set="4M")
    for side in sides:
        (src if side == "src" else dst).command("migrate-set-capabilities", ACK)
    return src, dst


def passes(vmm):
    return vmm.migration().get("ram", {}).get("dirty-sync-count", 0)


def wait_passes(src, n):
    first = passes(src)
    wait_until(lambda: passes(src) >= first + n, f"{n} more passes are made", alive=[src.daemon])


def test_both_sides(t):
    src, dst = pair(t, "src", "dst")
    seen = []
    port = int(t.listen(dst).rpartition(":")[2])
    with migd_proxy.Proxy(port, rewrite=lambda d, name, n, data: seen.append(name)) as link:
        src.command("migrate", {"uri": link.uri})
        info = t.wait_end(src)
    t.check(info["status"] == "completed", f"it completes: {info}")
    t.check(seen.count("reply-switchover-ack") == 1, f"the destination says it once: {seen}")
    t.check(seen.index("reply-switchover-ack") < seen.index("cmd-switchover-start"), f"before the switchover: {seen}")
    t.assert_only_runs(dst, src)


def test_destination_never_ready(t):
    """Without its word passes go on for ever; the guest runs, and a cancel ends it."""
    src, dst = pair(t, "src")
    src.daemon.qmp.skip_events()
    t.start(src, dst)
    wait_passes(src, 8)
    t.check(src.status() == "active", f"it stays active: {src.migration()}")
    t.assert_runs(src)
    src.command("migrate_cancel")
    t.check(t.wait_end(src)["status"] == "cancelled", "it was cancelled")
    src.daemon.qmp.poll_events(0.2)
    t.check(not [e for e in src.daemon.qmp.events if e.name == "STOP"], "the guest was never stopped")
    t.assert_untouched(src)


def test_ack_that_is_lost(t):
    src, dst = pair(t, "src", "dst")
    port = int(t.listen(dst).rpartition(":")[2])
    drop = lambda d, name, n, data: b"" if name == "reply-switchover-ack" else None  # noqa: E731
    with migd_proxy.Proxy(port, rewrite=drop) as link:
        src.command("migrate", {"uri": link.uri})
        wait_passes(src, 8)
        t.check(src.status() == "active", f"it stays active: {src.migration()}")
        src.command("migrate_cancel")
        t.wait_end(src)
    t.assert_only_runs(src, dst)


def test_paused_guest_needs_none(t):
    src, dst = pair(t, "src")
    src.command("stop")
    t.migrate(src, dst)
    t.check(dst.run_state() == "paused", f"the destination is {dst.run_state()}")


def test_destination_alone(t):
    """A source that did not ask is not disturbed by the answer."""
    src, dst = pair(t, "dst")
    t.migrate(src, dst)
    t.assert_only_runs(dst, src)


migdtest.main()
