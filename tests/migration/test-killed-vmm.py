#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""kill -9 of a VMM: the destination's costs nothing, the source's ends the migration and never runs half a guest."""

import migdtest
from migd_process import wait_until


def test_of_the_destination(t):
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    dst.kill()
    t.assert_failed(src)
    t.assert_untouched(src)
    again = t.incoming(dst.daemon, t.options)
    t.speed_up(src)
    t.migrate(src, again)
    t.assert_memory_verified(again, rounds=2 * again.mem.detail(1))


def test_of_the_destination_while_it_listens(t):
    src, dst = t.pair()
    uri = t.listen(dst)
    dst.kill()
    wait_until(lambda: not dst.daemon.workers(), "its worker is gone")
    src.command("migrate", {"uri": uri})
    t.assert_failed(src)
    t.assert_untouched(src)


def test_of_the_source(t):
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    src.kill()
    t.assert_failed(dst)
    t.assert_stopped(dst)
    wait_until(lambda: not src.daemon.workers(), "its worker is gone")


migdtest.main()
