#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""query-migrate's numbers: which are there in which state, what they add up to, and that they move while it runs."""

import migdtest
from migdtest import wait_until

ALWAYS = {"id", "status", "error-desc", "handover", "blocked-reasons", "preflight", "priority", "host-share", "queue"}
FULL = {"total-time", "setup-time", "ram"}


def members(info):
    return set(info) - ALWAYS


def events_on(vmm):
    vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]})


def passes(vmm):
    return [e.data["pass"] for e in vmm.daemon.qmp.poll_events() if e.name == "MIGRATION_PASS"]


def check_sums(t, info):
    ram = info["ram"]
    t.check((ram["remaining"], ram["dirty-pages-rate"]) == (0, 0), f"nothing is left: {ram}")
    t.check(ram["normal-bytes"] == ram["normal"] * ram["page-size"] and ram["page-size"] == 4096, f"{ram}")
    t.check(ram["precopy-bytes"] + ram["downtime-bytes"] + ram["postcopy-bytes"] <= ram["transferred"], f"{ram}")
    t.check(ram["precopy-bytes"] + ram["downtime-bytes"] >= ram["normal-bytes"], f"pages are RAM's bytes: {ram}")
    t.check((ram["normal"] + ram["duplicate"] + ram["hole"]) * 4096 >= ram["total"], f"each page was looked at: {ram}")
    t.check((ram["multifd-bytes"], ram["postcopy-requests"], ram["dirty-sync-missed-zero-copy"]) == (0, 0, 0), f"{ram}")
    sending_ms = info["total-time"] - info["setup-time"]
    if sending_ms > 0:
        mbps = ram["transferred"] * 8 / sending_ms / 1000
        t.check(abs(ram["mbps"] - mbps) <= mbps * 1e-6, f"mbps is over the whole migration: {ram['mbps']}, not {mbps}")


def test_what_is_said_at_the_end_adds_up(t):
    src, dst = t.pair(working_set="8M")
    events_on(src)
    info = t.migrate(src, dst)
    check_sums(t, info)
    t.check(members(info) == FULL | {"downtime", "blackout", "decisions"}, f"members of a completed one: {info}")
    t.check(passes(src)[-1] == info["ram"]["dirty-sync-count"], f"the last pass is dirty-sync-count: {info['ram']}")
    t.check(info["setup-time"] <= info["total-time"], f"{info}")
    t.check(info["ram"]["downtime-bytes"] < info["ram"]["precopy-bytes"], "most was sent while the guest ran")


def test_the_blackout_is_the_sum_of_its_parts(t):
    src, dst = t.pair(working_set="8M")
    info = t.migrate(src, dst)
    parts = info["blackout"]
    t.check(set(parts) == {"pause", "save", "sync", "ram", "transfer", "load", "commit", "resume"}, f"{parts}")
    # Each part is cut to microseconds, and the whole rounded up to milliseconds.
    t.check(0 <= info["downtime"] * 1000 - sum(parts.values()) < 1000 + len(parts), f"{parts} are {info['downtime']} ms")
    other = dst.migration()
    there = other["blackout"]
    t.check(set(there) == {"ram", "transfer", "load", "commit", "resume"}, f"what the destination can know: {there}")
    t.check((there["load"], there["resume"]) == (parts["load"], parts["resume"]), f"{there} and {parts}")
    t.check(sum(there.values()) <= info["downtime"] * 1000, f"{there} took longer than {info['downtime']} ms")
    t.check(members(other) <= {"blackout", "socket-address"}, f"the destination has no statistics of RAM: {other}")


def test_numbers_move_within_a_pass(t):
    src, dst = t.pair(memory="128M", working_set="4M")
    t.fill(src, 64 << 20, 48 << 20)
    src.set(max_bandwidth=8 << 20, downtime_limit=77)
    t.start(src, dst)
    t.wait_active(src)
    first = src.migration()
    t.check(members(first) == FULL | {"expected-downtime"}, f"members of an active one: {first}")
    t.check(first["expected-downtime"] == 77, f"it begins as downtime-limit: {first}")
    t.check(first["ram"]["dirty-sync-count"] == 1, f"it is in the first pass: {first}")
    wait_until(lambda: src.migration()["ram"]["remaining"] <= first["ram"]["remaining"] - (2 << 20),
               "what remains is counted down")
    now = src.migration()
    ram = now["ram"]
    t.check(ram["dirty-sync-count"] == 1, f"the first pass is not over: {ram}")
    t.check(ram["pages-per-second"] > 0, f"{ram}")
    t.check(ram["mbps"] > 0, f"{ram}")
    # A window that is not used up may begin another write, of a window's bytes at most; one after a stall has those of several.
    windows = (now["total-time"] - now["setup-time"]) / 100 + 2
    t.check(ram["transferred"] <= 2 * windows * (8 << 20) / 10, f"the speed is the limit's: {now}")
    t.check(ram["precopy-bytes"] > first["ram"]["precopy-bytes"] and ram["downtime-bytes"] == 0, f"{ram}")
    t.check(now["total-time"] > first["total-time"] and now["setup-time"] == first["setup-time"], f"{now}")
    src.command("migrate_cancel")
    info = t.wait_end(src)
    t.check(members(info) == set(), f"a cancelled one has its status: {info}")


def test_dirty_pages_rate(t):
    src, dst = t.pair(working_set="16M")
    src.set(max_bandwidth=16 << 20, downtime_limit=0)
    t.start(src, dst)
    wait_until(lambda: src.migration().get("ram", {}).get("dirty-pages-rate", 0) > 0, "a rate is measured")
    t.check(src.migration()["total-time"] >= 1000, "not before a second")
    src.set(max_bandwidth=0, downtime_limit=2000)
    t.check(t.wait_end(src)["status"] == "completed", f"{src.migration()}")
    check_sums(t, src.migration())


def test_a_stopped_guest_has_only_downtime(t):
    src, dst = t.pair(working_set="8M")
    src.command("stop")
    info = t.migrate(src, dst)
    check_sums(t, info)
    t.check(info["ram"]["precopy-bytes"] == 0 and info["ram"]["downtime-bytes"] > 0, f"{info['ram']}")


def test_failed_and_waiting(t):
    src, dst = t.pair()
    t.check(src.migration() == {} and dst.migration() == {}, "nothing before the first")
    t.listen(dst)
    t.check(members(dst.migration()) == {"socket-address"}, f"{dst.migration()}")
    src.command("migrate", {"uri": "tcp:127.0.0.1:1"})
    t.assert_failed(src)
    t.check(members(src.migration()) == set(), f"a failed one has its status: {src.migration()}")


def test_paused_in_pre_switchover(t):
    src, dst = t.pair(working_set="4M")
    src.command("migrate-set-capabilities", {"capabilities": [{"capability": "pause-before-switchover", "state": True}]})
    t.start(src, dst)
    wait_until(lambda: src.status() == "pre-switchover", "it waits")
    info = src.migration()
    t.check(members(info) == FULL | {"expected-downtime", "decisions"}, f"{info}")
    src.command("migrate-continue", {"state": "pre-switchover"})
    info = t.wait_end(src)
    t.check(info["status"] == "completed" and info["downtime"] * 1000 >= sum(info["blackout"].values()), f"{info}")
    check_sums(t, info)


migdtest.main()
