#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""With x-ignore-shared, what one side takes for shared memory and the other does not is never taken for empty."""

import os

import migdtest

CAPABILITY = {"capabilities": [{"capability": "x-ignore-shared", "state": True}]}


def begin(t, src_shared, dst_shared):
    """A pair whose sides have their memory in one shared file, or each in its own."""
    shared = os.path.join(t.shm, "shared.ram")
    src, dst = t.pair(shared_memory=shared if src_shared else None,
                      dst_changes={"shared_memory": shared if dst_shared else None})
    for vmm in src, dst:
        vmm.command("migrate-set-capabilities", CAPABILITY)
    return src, dst


def refused(t, src, dst, words):
    t.start(src, dst)
    t.assert_failed(src, words)
    t.assert_only_runs(src, dst)
    t.assert_untouched(src)


def test_shared_at_the_source_only(t):
    refused(t, *begin(t, True, False), "nothing of block .* start the target VMM")


def test_shared_at_the_source_only_by_file(t):
    """Nobody compares anything beforehand: the stream itself has to tell."""
    src, dst = begin(t, True, False)
    path = os.path.join(t.dir, "saved")
    src.command("stop")
    src.command("migrate", {"uri": f"file:{path}"})
    t.check(t.wait_end(src)["status"] == "completed", "it is saved")
    dst.command("migrate-incoming", {"uri": f"file:{path}", "exit-on-error": False})
    info = t.wait_end(dst)
    t.check(info["status"] == "failed" and "nothing of block" in info["error-desc"], f"it is not loaded: {info}")
    t.assert_stopped(dst)


def test_shared_at_the_target_only(t):
    refused(t, *begin(t, False, True), "shared memory here")


def test_shared_nowhere(t):
    """All is sent, and what was never touched is not missed."""
    src, dst = begin(t, False, False)
    t.migrate(src, dst)
    t.assert_only_runs(dst, src)
    t.guest_ok(dst)


migdtest.main()
