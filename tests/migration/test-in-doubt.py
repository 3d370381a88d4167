#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""The link breaks between RELEASE and ACTIVE: nobody guesses. The sides ask each other, or an operator decides."""

import os

import migdtest
from migd_process import wait_until

# What the connection is broken at, and who is right to run the guest then.
COMMIT_LOST = ("out", "cmd-commit")
ACTIVE_LOST = ("back", "reply-active")


def make_doubt(t, lost):
    """Migrate over a link that breaks at `lost` and stays broken; (source, destination, link)."""
    src, dst = t.pair(working_set="2M")
    link = t.proxy(int(t.listen(dst).rpartition(":")[2]),
                   rule=lambda d, n, count: "cut-before" if (d, n) == lost else None)
    src.daemon.qmp.skip_events()
    src.command("migrate", {"uri": link.uri})
    wait_until(link.was_cut.is_set, f"the link breaks at {lost}")
    info = wait_until(lambda: (lambda m: m if m.get("handover", {}).get("in-doubt") else None)(src.migration()),
                      "the source is in doubt")
    t.check(info["handover"]["state"] == "released", f"released: {info['handover']}")
    t.check(info["status"] == "device", f"the status stays device: {info['status']}")
    event = src.daemon.qmp.wait_event("MIGRATION_HANDOVER", in_doubt=True)
    t.check(event.data["id"] == info["handover"]["id"], f"the event names the handover: {event.data}")
    t.assert_stopped(src)
    return src, dst, link


def test_commit_lost_then_healed(t):
    src, dst, link = make_doubt(t, COMMIT_LOST)
    t.assert_stopped(dst)
    link.heal()
    t.assert_failed(src)
    t.assert_only_runs(src, dst)
    t.check(src.run_state() == "running", f"the source is {src.run_state()}")
    wait_until(lambda: dst.run_state() != "inmigrate" or not dst.running(), "the destination is discarded")


def test_active_lost_then_healed(t):
    src, dst, link = make_doubt(t, ACTIVE_LOST)
    t.assert_runs(dst)
    link.heal()
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source learns that it completed: {info}")
    t.assert_only_runs(dst, src)


def test_settled_lost_then_healed(t):
    """Both completed; the target keeps its answer, and its port, until the source could say that it has it."""
    src, dst = t.pair(working_set="2M")
    link = t.proxy(int(t.listen(dst).rpartition(":")[2]),
                   rule=lambda d, n, count: "cut-before" if n == "cmd-settled" else None)
    src.command("migrate", {"uri": link.uri})
    wait_until(link.was_cut.is_set, "the link breaks")
    for vmm in src, dst:
        t.check(t.wait_end(vmm)["status"] == "completed", f"{vmm.label} completed")
    t.assert_only_runs(dst, src)
    t.check(dst.daemon.workers(), "the target keeps its answer")
    src.kill()  # as a control plane does then
    link.heal()
    for daemon in src.daemon, dst.daemon:
        wait_until(lambda d=daemon: not d.workers(), f"{daemon.name} has no worker any more")
    t.assert_runs(dst)


def lose_loaded(t):
    """The target is ready, the source never heard so and goes on; (source, destination, link)."""
    src, dst = t.pair(working_set="2M")
    link = t.proxy(int(t.listen(dst).rpartition(":")[2]),
                   rule=lambda d, n, count: "cut-before" if n == "reply-loaded" else None)
    src.command("migrate", {"uri": link.uri})
    t.assert_failed(src)
    t.assert_only_runs(src, dst)
    handover = wait_until(lambda: dst.migration().get("handover"), "the target has a handover")
    wait_until(lambda: dst.migration()["handover"]["in-doubt"], f"the target is in doubt: {handover}")
    return src, dst, link


def test_loaded_lost_then_healed(t):
    """The source comes back to tell the target, which did not wait in vain."""
    src, dst, link = lose_loaded(t)
    link.heal()
    t.assert_failed(dst)
    t.assert_only_runs(src, dst)
    wait_until(lambda: not src.daemon.workers(), "the source's worker ends")


def test_package_lost_then_healed(t):
    """
    The source cannot know that the target got too little to be LOADED: it comes back to tell, and neither side waits on; nor
    does a target that waits for its source to go on with pre-copy (reconnect-timeout).
    """
    for action, patience_ms in ("cut-before", 0), ("cut", 0), ("mute", 30000):
        src, dst = t.pair(working_set="2M", name=f"{action}-{patience_ms}")
        for vmm in src, dst:
            vmm.set(reconnect_timeout=patience_ms)
        link = t.proxy(int(t.listen(dst).rpartition(":")[2]), rule=lambda d, n, c, a=action: a if n == "cmd-packaged" else None)
        src.command("migrate", {"uri": link.uri})
        wait_until(lambda: ("out", "cmd-packaged") in link.seen, "the package is sent")
        if action == "mute":
            wait_until(lambda: src.migration()["status"] == "device", "all of it is")
            link.cut()
        wait_until(link.was_cut.is_set, "the link breaks at the package")
        t.assert_failed(src)
        link.heal()
        t.assert_failed(dst)
        for daemon in src.daemon, dst.daemon:
            wait_until(lambda d=daemon: not d.workers(), f"the worker of {daemon.name} ends", 30)
            daemon.kill()
        t.assert_only_runs(src, dst)


def test_loaded_lost_and_resolved(t):
    """An operator who knows need not wait for the link."""
    src, dst, _ = lose_loaded(t)
    dst.command("migrate-resolve", {"outcome": "discard", "fenced": True})
    t.assert_failed(dst)
    t.assert_only_runs(src, dst)


def test_loaded_lost_and_migrated_elsewhere(t):
    """A target that is still to be told does not keep the guest from going somewhere else."""
    src, _, _ = lose_loaded(t)
    other = t.incoming(t.daemon("c"), {"memory": "64M"})
    t.migrate(src, other)
    t.assert_only_runs(other, src)


def test_cancel_is_refused(t):
    src, dst, _ = make_doubt(t, ACTIVE_LOST)
    t.assert_refused(src, "migrate_cancel", {}, "resolve")
    t.assert_refused(src, "cont", {})
    t.assert_only_runs(dst, src)


def test_resolve_needs_fencing(t):
    src, _, _ = make_doubt(t, COMMIT_LOST)
    t.assert_refused(src, "migrate-resolve", {"outcome": "run"}, "fenced")
    t.assert_refused(src, "migrate-resolve", {"outcome": "run", "fenced": False}, "fenced")
    t.assert_stopped(src)


def test_resolved_to_run(t):
    src, dst, _ = make_doubt(t, COMMIT_LOST)
    dst.kill()
    src.command("migrate-resolve", {"outcome": "run", "fenced": True})
    t.assert_runs(src)
    info = t.wait_end(src)
    t.check(info["status"] == "failed", f"the migration failed: {info}")
    t.assert_untouched(src)


def test_resolved_to_run_tells_the_target(t):
    """Which needs no operator of its own, once it can be reached."""
    src, dst, link = make_doubt(t, COMMIT_LOST)
    src.command("migrate-resolve", {"outcome": "run", "fenced": True})
    t.assert_failed(src)
    t.check(dst.migration()["handover"]["state"] == "loaded", "the target waits")
    link.heal()
    t.assert_failed(dst)
    t.assert_only_runs(src, dst)
    for daemon in src.daemon, dst.daemon:
        wait_until(lambda d=daemon: not d.workers(), f"{daemon.name} has no worker any more")


def test_resolved_to_discard(t):
    src, dst, _ = make_doubt(t, ACTIVE_LOST)
    src.command("migrate-resolve", {"outcome": "discard", "fenced": True})
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the migration completed: {info}")
    t.assert_only_runs(dst, src)


def test_nothing_to_resolve(t):
    src, dst = t.pair()
    t.assert_refused(src, "migrate-resolve", {"outcome": "run", "fenced": True})
    t.migrate(src, dst)
    t.assert_refused(dst, "migrate-resolve", {"outcome": "discard", "fenced": True})
    t.assert_runs(dst)


def test_doubt_survives_the_daemon(t):
    """The next daemon of the source finds the guest in doubt, and settles it."""
    src, dst, link = make_doubt(t, ACTIVE_LOST)
    src.daemon.kill()
    src.daemon.drop_session()
    src.daemon = t.daemon("a")
    wait_until(lambda: src.daemon.guest("g"), "the next daemon knows the guest")
    t.assert_only_runs(dst, src)
    link.heal()
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source learns that it completed: {info}")


def test_doubt_survives_the_worker(t):
    src, dst, link = make_doubt(t, ACTIVE_LOST)
    worker, = src.daemon.workers()
    os.kill(worker, 9)
    t.assert_only_runs(dst, src)
    link.heal()
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source learns that it completed: {info}")


migdtest.main()
