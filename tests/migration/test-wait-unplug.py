#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A guest lets go of a device that cannot be migrated first: wait-unplug, until it did, or until a cancel."""

import struct

import migdtest
from migd_process import wait_until

EVENTS = {"capabilities": [{"capability": "events", "state": True}]}
KEEP_GPA = 0x12000
PLUGGED, ASKED = 1, 2


def pair(t, obey):
    """OBEY: the guest lets go as soon as it is asked; else when allow() is called."""
    src, dst = t.pair(payload="vault", args=None if obey else {1: 1}, extra=("--vault", "1M", "--dongle"),
                      dst_changes={"extra": ("--vault", "1M")})
    src.command("migrate-set-capabilities", EVENTS)
    src.daemon.qmp.skip_events()
    return src, dst


def dongle(vmm):
    return vmm.mem.detail(3)


def allow(vmm):
    vmm.mem.map[KEEP_GPA:KEEP_GPA + 8] = struct.pack("<Q", 1)


def statuses(vmm):
    vmm.daemon.qmp.poll_events(0.2)
    return [e.data["status"] for e in vmm.daemon.qmp.events if e.name == "MIGRATION"]


def test_guest_lets_go(t):
    src, dst = pair(t, obey=False)
    wait_until(lambda: dongle(src) == PLUGGED, "the guest has the dongle")
    t.start(src, dst)
    t.check(src.daemon.qmp.wait_event("UNPLUG_PRIMARY").data["device-id"] == "dongle", "the event names the device")
    wait_until(lambda: src.status() == "wait-unplug", "the migration waits")
    wait_until(lambda: dongle(src) == PLUGGED | ASKED, "the guest was asked")
    t.assert_runs(src)
    t.check(src.status() == "wait-unplug", f"it goes on waiting: {src.migration()}")
    allow(src)
    t.check(t.wait_end(src)["status"] == "completed", "it completes")
    t.check(statuses(src) == ["setup", "wait-unplug", "active", "device", "completed"], f"{statuses(src)}")
    t.assert_only_runs(dst, src)
    t.check(dst.mem.detail(4) == 1, "the guest let go once")
    wait_until(lambda: dongle(dst) == 0, "there is none at the destination")
    t.assert_memory_verified(dst, rounds=256)


def test_cancelled(t):
    src, dst = pair(t, obey=False)
    t.start(src, dst)
    wait_until(lambda: src.status() == "wait-unplug", "the migration waits")
    src.command("migrate_cancel")
    t.check(t.wait_end(src)["status"] == "cancelled", "it was cancelled")
    wait_until(lambda: dongle(src) == PLUGGED, "the guest keeps the dongle, and is asked no more")
    t.assert_untouched(src)


def test_plugged_in_again_after_a_failure(t):
    src, dst = pair(t, obey=True)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    wait_until(lambda: dongle(src) == 0, "the guest let go")
    dst.kill()
    t.assert_failed(src)
    wait_until(lambda: dongle(src) == PLUGGED, "it has the dongle again")
    t.assert_untouched(src)
    src.set(max_bandwidth=0)
    dst = t.vmm(t.b, incoming=True, payload="vault", extra=("--vault", "1M"))
    t.migrate(src, dst)
    t.check(dst.mem.detail(4) == 2, "the guest let go twice")


def test_destination_dies_meanwhile(t):
    src, dst = pair(t, obey=False)
    t.start(src, dst)
    wait_until(lambda: src.status() == "wait-unplug", "the migration waits")
    dst.kill()
    t.assert_failed(src)
    wait_until(lambda: dongle(src) == PLUGGED, "the guest keeps the dongle")
    t.assert_untouched(src)


migdtest.main()
