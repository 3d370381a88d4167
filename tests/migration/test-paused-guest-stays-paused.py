#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A guest that an operator paused arrives paused, and a failed migration leaves it paused."""

import migdtest


def test_arrives_paused(t):
    src, dst = t.pair(working_set="4M")
    src.command("stop")
    t.assert_stopped(src)
    t.migrate(src, dst)
    t.check(dst.run_state() == "paused", f"the destination is {dst.run_state()}")
    t.assert_stopped(dst)
    t.assert_stopped(src)
    dst.command("cont")
    t.assert_memory_verified(dst)


def test_stays_paused_after_failure(t):
    src, dst = t.pair(working_set="4M")
    src.command("stop")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    dst.kill()
    t.assert_failed(src)
    t.check(src.run_state() == "paused", f"the source is {src.run_state()}")
    t.assert_stopped(src)
    src.command("cont")
    t.assert_untouched(src)


def test_paused_while_it_migrates(t):
    src, dst = t.pair(working_set="8M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    src.command("stop")
    t.speed_up(src)
    t.wait_end(src)
    t.wait_end(dst)
    t.check(dst.run_state() == "paused", f"the destination is {dst.run_state()}")
    t.assert_stopped(dst)
    dst.command("cont")
    t.assert_memory_verified(dst)


def test_destination_told_to_stay_paused(t):
    src, dst = t.pair(working_set="4M")
    dst.command("stop")
    t.migrate(src, dst)
    t.assert_stopped(dst)
    dst.command("cont")
    t.assert_memory_verified(dst)


migdtest.main()
