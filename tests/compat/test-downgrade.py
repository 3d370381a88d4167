#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 900
"""Going back to the older daemon is not promised to keep settings, but no guest is lost by it: docs/install.md."""

import signal

import migd_older
import migdtest
from migd_older import succeed
from migd_process import wait_until


def test_guests_stay(t):
    """VMMs with this library attach to the older daemon, which can migrate them."""
    old = migd_older.build()
    src, dst = t.pair(working_set="4M")
    for vmm in src, dst:
        succeed(t, vmm, old, signal.SIGTERM)
    t.assert_untouched(src)
    t.migrate(src, dst)
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst)


def test_running_migration_ends_well(t):
    """It goes on, or is rolled back with a text: in either case the guest runs once."""
    old = migd_older.build()
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    succeed(t, src, old)
    try:
        succeed(t, dst, old)
    except AssertionError:
        # The older daemon ends a worker that says what it does not know: the source goes on, and this VMM is of no use. It
        # leaves, before it is answered perhaps, which that daemon does not survive.
        wait_until(lambda: not dst.running(), "the destination's VMM attaches again, or ends")
        t.check("is unexpected" in dst.daemon.log_text(), dst.daemon.log_text())
    t.speed_up(src)
    info = t.wait_end(src)
    here, elsewhere = (dst, src) if info["status"] == "completed" else (src, dst)
    print(f"the migration is {info['status']} {info.get('error-desc', '')}")
    t.check(info["status"] == "completed" or info.get("error-desc"), f"rolled back with a text: {info}")
    t.assert_only_runs(here, elsewhere)
    t.assert_memory_verified(here)


def test_and_forth_again(t):
    """Settings made before the older daemon ran are there after it; or are the defaults, and never something else."""
    old = migd_older.build()
    src, _ = t.pair()
    src.set(downtime_limit=123)
    succeed(t, src, old)
    src.command("query-migrate-parameters")
    succeed(t, src, None)
    limit = src.command("query-migrate-parameters")["downtime-limit"]
    t.check(limit in (123, 300), f"downtime-limit is {limit}")
    print(f"downtime-limit was set to 123, and is {limit}")
    t.assert_untouched(src)


migdtest.main()
