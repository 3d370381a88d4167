#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""Post-copy is paused and recovered by an operator: migrate-pause, migrate-recover, migrate with resume."""

import migdtest
from migd_postcopy import enter_postcopy, finish, prepare, wait_status
from migd_process import wait_until


def pause(t, src, dst, who):
    who.command("migrate-pause")
    text = wait_status(t, who, "postcopy-paused")["error-desc"]
    t.check("migrate-pause" in text, f"{text!r} says who paused")
    for vmm in src, dst:
        wait_status(t, vmm, "postcopy-paused")


def test_by_hand(t):
    """migrate-pause, at either side, and another address each time; a bad one changes nothing."""
    src, dst, _, uri = prepare(t, via_proxy=False)
    enter_postcopy(t, src, dst, uri)
    for i, who in enumerate((src, dst)):
        pause(t, src, dst, who)
        t.assert_refused(src, "migrate_cancel", {}, "post-copy", "cancel")
        t.assert_refused(dst, "migrate-recover", {"uri": "tcp:127.0.0.1:x"})
        t.assert_refused(dst, "migrate-recover", {"uri": "unix:/nowhere/at/all"}, "/nowhere/at/all")
        t.assert_refused(dst, "migrate-recover", {"uri": "file:/tmp/x"}, "connection")
        t.assert_refused(src, "migrate-recover", {"uri": "tcp:127.0.0.1:0"}, "paused")
        t.assert_refused(dst, "migrate", {"uri": uri, "resume": True}, "resume")
        src.command("migrate", {"uri": "unix:/nowhere/at/all", "resume": True})
        info = wait_until(lambda: (lambda m: m if "/nowhere" in m["error-desc"] else None)(src.migration()), "resume fails")
        t.check(info["status"] == "postcopy-paused", f"it stays paused: {info}")
        address = f"unix:{t.dir}/again-{i}"
        dst.command("migrate-recover", {"uri": f"unix:{t.dir}/never-used-{i}"})
        dst.command("migrate-recover", {"uri": address})
        dst.command("migrate-recover", {"uri": address})
        src.command("migrate", {"uri": address, "resume": True})
        for vmm in src, dst:
            wait_status(t, vmm, "postcopy-active")
        t.assert_only_runs(dst, src)
    t.assert_refused(src, "migrate", {"uri": address, "resume": True}, "resume")
    finish(t, src, dst)


def test_settings_are_refused_while_paused(t):
    src, dst, _, uri = prepare(t, via_proxy=False)
    enter_postcopy(t, src, dst, uri)
    pause(t, src, dst, src)
    for vmm in src, dst:
        t.assert_refused(vmm, "migrate-set-capabilities",
                         {"capabilities": [{"capability": "postcopy-ram", "state": False}]}, "progress")
        t.assert_refused(vmm, "migrate-pause", {}, "postcopy-paused")
    t.assert_refused(src, "migrate", {"uri": uri}, "progress")
    src.command("migrate", {"uri": uri, "resume": True})
    finish(t, src, dst)


migdtest.main()
