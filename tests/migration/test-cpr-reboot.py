#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""cpr-reboot: the guest is stopped first, its state goes to a file, its memory stays in one; both are picked up later."""

import os

import migdtest

SHARED = {"capabilities": [{"capability": "x-ignore-shared", "state": True}, {"capability": "events", "state": True}]}


def test_picked_up_after_the_vmm_and_the_daemon_ended(t):
    t.options = {"working_set": "16M", "shared_memory": os.path.join(t.shm, "guest.ram")}
    t.a = t.daemon("a")
    src = t.vmm(t.a, **t.options)
    t.assert_memory_verified(src)
    src.command("migrate-set-capabilities", SHARED)
    src.set(mode="cpr-reboot")
    path = os.path.join(t.dir, "state")
    src.command("migrate", {"uri": "file:" + path})
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"it is saved: {info}")
    passes = [e for e in t.a.qmp.events if e.name == "MIGRATION_PASS"]
    t.check(len(passes) <= 2, f"there are no passes while the guest runs: {passes}")
    t.check(os.stat(path).st_size < 1 << 20, "without its memory")
    t.check(src.wait_exit() == 0, "the VMM ends")
    t.a.kill()
    t.a = t.daemon("a")
    dst = t.incoming(t.a, t.options)
    dst.command("migrate-set-capabilities", SHARED)
    dst.set(mode="cpr-reboot")
    dst.command("migrate-incoming", {"uri": "file:" + path})
    t.check(t.wait_end(dst)["status"] == "completed", "it is back")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_memory_that_is_not_shared_is_saved(t):
    """Without x-ignore-shared the mode only stops the guest first."""
    t.options = {"working_set": "4M"}
    t.a = t.daemon("a")
    src = t.vmm(t.a, **t.options)
    t.assert_memory_verified(src)
    src.set(mode="cpr-reboot", max_bandwidth=0)
    path = os.path.join(t.dir, "state")
    src.command("migrate", {"uri": "file:" + path})
    t.check(t.wait_end(src)["status"] == "completed", "it is saved")
    src.wait_exit()
    t.check(os.stat(path).st_size > 4 << 20, "with its memory")
    dst = t.incoming(t.a, t.options, label="again")
    dst.command("migrate-incoming", {"uri": "file:" + path})
    t.check(t.wait_end(dst)["status"] == "completed", "it is back")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


migdtest.main()
