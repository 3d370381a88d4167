#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 900
"""VMMs with the older library attach to this daemon, and those with this library to the older daemon; both ways they migrate."""

import migd_older
import migdtest
from migd_postcopy import enter_postcopy, finish, prepare


def moves(t, builds, vmm_builds):
    src, dst = t.pair(working_set="4M", builds=builds, vmm_builds=vmm_builds)
    t.migrate(src, dst)
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    # And back, into a VMM of the kind that it came from.
    back = t.vmm(t.a, working_set="4M", incoming=True, build=vmm_builds[0])
    t.migrate(dst, back)
    t.assert_only_runs(back, src, dst)


def test_older_vmms_at_this_daemon(t):
    old = migd_older.build()
    moves(t, (None, None), (old, old))


def test_from_an_older_vmm_to_this_one_and_back(t):
    old = migd_older.build()
    moves(t, (None, None), (old, None))


def test_these_vmms_at_an_older_daemon(t):
    old = migd_older.build()
    moves(t, (old, old), (None, None))


def test_one_side_all_older(t):
    old = migd_older.build()
    moves(t, (old, None), (old, None))


def test_pause_and_cont(t):
    src, _ = t.pair(vmm_builds=(migd_older.build(),) * 2)
    src.command("stop")
    t.assert_stopped(src)
    src.command("cont")
    t.assert_untouched(src)


def test_postcopy(t):
    old = migd_older.build()
    src, dst, _, uri = prepare(t, via_proxy=False, vmm_builds=(old, old))
    enter_postcopy(t, src, dst, uri)
    finish(t, src, dst)


def test_this_vmm_in_postcopy_at_an_older_daemon(t):
    old = migd_older.build()
    src, dst, _, uri = prepare(t, via_proxy=False, builds=(old, old))
    enter_postcopy(t, src, dst, uri)
    finish(t, src, dst)


migdtest.main()
