#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 900
"""What a daemon of the older build began (migrations, a queue, settings) this one goes on with, be it killed or told to end."""

import os
import signal

import migd_older
import migdtest
from migd_older import succeed, went_on
from migd_postcopy import enter_postcopy, finish, prepare, wait_status
from migd_process import wait_until


def old_pair(t, **options):
    old = migd_older.build()
    return t.pair(builds=(old, old), vmm_builds=(old, old), **options)


def completes(t, src, dst):
    t.speed_up(src)
    for vmm in src, dst:
        info = t.wait_end(vmm)
        t.check(info["status"] == "completed", f"{vmm.label}: {info}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def precopy(t, pick, sig):
    src, dst = old_pair(t, working_set="16M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    for vmm in pick(src, dst):
        succeed(t, vmm, None, sig)
        went_on(vmm)
        wait_until(lambda v=vmm: v.status() == "active", f"{vmm.label}: the new daemon shows it")
    t.check(src.migration()["ram"]["transferred"] > 0, "its numbers are known")
    completes(t, src, dst)


def test_outgoing(t):
    precopy(t, lambda src, dst: [src], signal.SIGKILL)


def test_incoming(t):
    precopy(t, lambda src, dst: [dst], signal.SIGKILL)


def test_both_told_to_end(t):
    precopy(t, lambda src, dst: [src, dst], signal.SIGTERM)


def test_cancelled_by_the_new(t):
    src, dst = old_pair(t, working_set="16M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    succeed(t, src, None)
    went_on(src)
    t.cancel(src)
    t.assert_only_runs(src, dst)


def test_postcopy(t):
    old = migd_older.build()
    src, dst, _, uri = prepare(t, via_proxy=False, builds=(old, old), vmm_builds=(old, old))
    enter_postcopy(t, src, dst, uri)
    for vmm in src, dst:
        succeed(t, vmm, None)
        went_on(vmm)
    for vmm in src, dst:
        wait_status(t, vmm, "postcopy-active")
    t.assert_only_runs(dst, src)
    finish(t, src, dst)


def test_postcopy_that_freed_what_it_sent(t):
    """The older worker freed pages that may not have arrived (release-ram): zeros never go in their place."""
    old = migd_older.build()
    src, dst, _, uri = prepare(t, "release-ram", via_proxy=False, builds=(old, old), vmm_builds=(old, old))
    enter_postcopy(t, src, dst, uri)
    succeed(t, src, None)
    went_on(src)
    os.kill(src.worker(), signal.SIGKILL)
    info = t.wait_end(src)
    t.check(info["status"] == "failed" and "an older migd's" in info["error-desc"], f"it says why: {info}")
    info = wait_status(t, dst, "postcopy-paused")
    t.check(info["postcopy"]["missing"] > 0, f"the destination says what is missing: {info}")
    t.assert_stopped(src)


def test_outcome_while_there_was_no_daemon(t):
    """The older worker ends by itself, and tells the new daemon what came of it."""
    src, dst = old_pair(t, working_set="1M")
    t.fill(src)
    src.set(max_bandwidth=8 << 20, downtime_limit=2000)
    t.start(src, dst)
    t.wait_active(src)
    src.daemon.kill(signal.SIGKILL)
    src.daemon.drop_session()
    t.check(t.wait_end(dst)["status"] == "completed", "it completes without the source's daemon")
    src.daemon = t.daemon("a")
    wait_until(lambda: src.daemon.guest("g") and src.status() == "completed", "the new daemon learns the outcome")
    t.assert_only_runs(dst, src)


def test_queue(t):
    """One runs and one waits; the new daemon keeps both, and the limit that makes the second wait."""
    old = migd_older.build()
    a, b = t.daemon("a", build=old), t.daemon("b", build=old)
    options = {"working_set": "4M", "build": old}
    sources = [t.vmm(a, name=name, **options) for name in ("first", "second")]
    targets = [t.incoming(b, options, name=vmm.name) for vmm in sources]
    a.qmp.command("host-set-parameters", {"max-outgoing": 1})
    t.make_slow(sources[0])
    for src, dst in zip(sources, targets):
        t.assert_runs(src)
        src.command("migrate", {"uri": t.listen(dst), "priority": 3})
    t.wait_active(sources[0])
    succeed(t, sources[0], None)
    sources[1].daemon = sources[0].daemon
    sources[1].wait_attached()
    went_on(sources[0])
    queue = wait_until(lambda: sources[1].migration().get("queue"), "the second still waits")
    t.check(queue == {"position": 1, "length": 1}, f"its place: {queue}")
    t.check(sources[0].daemon.qmp.command("query-host-parameters")["max-outgoing"] == 1, "the limit was kept")
    for src, dst in zip(sources, targets):
        completes(t, src, dst)


def test_settings(t):
    src, _ = old_pair(t)
    src.set(downtime_limit=123, max_bandwidth=7 << 20, announce_rounds=3)
    src.set_capabilities(events=True, postcopy_ram=True)
    parameters, capabilities = src.command("query-migrate-parameters"), src.command("query-migrate-capabilities")
    src.daemon.qmp.command("object-add", {"qom-type": "authz-simple", "id": "kept", "identity": "somebody"})
    succeed(t, src, None)
    now = src.command("query-migrate-parameters")
    t.check({k: now.get(k) for k in parameters} == parameters, f"{now}, not {parameters}")
    now = src.command("query-migrate-capabilities")
    t.check([c for c in now if c in capabilities] == capabilities, f"{now}, not {capabilities}")
    t.check("kept" in str(src.daemon.qmp.command("query-objects")), "the object was kept")
    t.assert_untouched(src)


migdtest.main()
