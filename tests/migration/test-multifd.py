#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Pages over parallel channels: every byte arrives, whatever the guest does meanwhile, and holes stay holes."""

import os

import migd_multifd
import migdtest
from migd_process import wait_until

TOLERANCE = 1 << 20


def digest_matches(t, src, dst, places):
    for at, length in places:
        t.check(dst.mem.map[at:at + length] == src.mem.map[at:at + length], f"{length} bytes at {at:#x} arrived")


def moved(t, channels=2, uri="tcp:127.0.0.1:0", parameters=None, **options):
    """A guest that rewrites and verifies its memory, moved over that many channels; (source, destination, its result)."""
    src, dst = t.pair(**{"memory": "128M", "working_set": "16M", **options})
    migd_multifd.on(src, dst, channels=channels, **(parameters or {}))
    t.assert_memory_verified(src, rounds=src.mem.detail(1))
    info = t.migrate(src, dst, uri)
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    t.check(info["ram"]["multifd-bytes"] > 0, f"the channels were used: {info['ram']}")
    return src, dst, info


def wait_syncs(t, src, n):
    def reached():
        info = src.migration()
        t.check(info["status"] in ("setup", "active"), f"it goes on: {info}")
        return info.get("ram", {}).get("dirty-sync-count", 0) >= n
    wait_until(reached, f"{n} looks for dirty pages", timeout=90, alive=[t.a])


def test_one_channel(t):
    moved(t, 1)


def test_two_channels(t):
    _, _, info = moved(t, 2)
    ram = info["ram"]
    t.check(ram["multifd-bytes"] > 16 << 20, f"pages go over the channels: {ram}")
    t.check(ram["transferred"] - ram["multifd-bytes"] < 4 << 20, f"and not in the stream: {ram}")
    t.check(ram["precopy-bytes"] + ram["downtime-bytes"] < 4 << 20, f"nor are they counted there: {ram}")


def test_sixteen_channels_over_unix(t):
    moved(t, 16, uri=f"unix:{t.dir}/there")


def test_all_channels_there_are(t):
    moved(t, 255)


def test_zero_pages_as_records(t):
    moved(t, parameters={"zero_page_detection": "legacy"})


def test_zero_pages_in_full(t):
    moved(t, parameters={"zero_page_detection": "none"})


def test_many_passes(t):
    """A page goes over another channel in every pass: the last version is the one that counts."""
    src, dst = t.pair(memory="128M", working_set="8M")
    migd_multifd.on(src, dst, channels=4)
    t.assert_memory_verified(src, rounds=src.mem.detail(1))
    src.set(max_bandwidth=10 << 20, downtime_limit=1)
    t.start(src, dst)
    wait_syncs(t, src, 8)
    src.set(max_bandwidth=0, downtime_limit=2000)
    t.check(t.wait_end(src)["status"] == "completed", f"the source says {src.migration()}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_syncs_in_mid_pass(t):
    """auto-converge looks for dirty pages in the middle of a pass, too."""
    src, dst = t.pair(memory="128M", working_set="32M")
    migd_multifd.on(src, dst, channels=3)
    t.assert_memory_verified(src, rounds=src.mem.detail(1))
    src.command("migrate-set-capabilities", {"capabilities": [{"capability": "auto-converge", "state": True}]})
    src.set(max_bandwidth=8 << 20, downtime_limit=1)
    t.start(src, dst)
    wait_syncs(t, src, 6)
    src.set(max_bandwidth=0, downtime_limit=2000)
    t.check(t.wait_end(src)["status"] == "completed", f"the source says {src.migration()}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_holes_stay_holes(t):
    src, dst = t.pair(memory="2G", working_set="8M")
    migd_multifd.on(src, dst)
    src.mem.map[1 << 30:(1 << 30) + (8 << 20)] = bytes(8 << 20)  # touched, and zero
    src.mem.map[(1 << 30) + (100 << 20):(1 << 30) + (108 << 20)] = os.urandom(8 << 20)
    wait_until(lambda: src.mem.detail(0) >= 1, "the guest has all that it writes")
    before = src.allocated()
    info = t.migrate(src, dst)
    t.check(src.allocated() <= before + TOLERANCE, f"reading holes allocated {src.allocated() - before} bytes")
    t.check(dst.allocated() <= before - (8 << 20) + TOLERANCE, f"{dst.allocated()} of {before} bytes are allocated at the destination")
    # However many passes over what it writes there were.
    t.check(info["ram"]["transferred"] < 512 << 20, f"holes were not sent: {info['ram']}")
    digest_matches(t, src, dst, [(1 << 30, 8 << 20), ((1 << 30) + (100 << 20), 8 << 20)])
    t.assert_memory_verified(dst)


def test_every_kind_of_run(t):
    """Short and long runs, zeros in between, and the same again after they changed."""
    random = migdtest.seed()
    src, dst = t.pair(memory="256M", payload="idle")
    migd_multifd.on(src, dst, channels=3)
    places = []
    for _ in range(300):
        at = random.randrange(32 << 20, 250 << 20)
        data = random.choice((random.randbytes, bytes))(random.choice((1, 4096, 70000, 600000, 3 << 20)))
        src.mem.map[at:at + len(data)] = data
        places.append((at, len(data)))
    t.migrate(src, dst)
    digest_matches(t, src, dst, places)


def test_slow_lives_and_cancels_at_once(t):
    src, dst = t.pair(memory="128M", working_set="16M")
    migd_multifd.on(src, dst, channels=16)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    threads = src.command("query-migrationthreads")
    names = {thread["name"] for thread in threads}
    t.check(names == {"mig/src/main"} | {f"mig/src/send_{i}" for i in range(16)}, f"the threads are {names}")
    worker = t.a.workers()[0]
    ids = {int(tid) for tid in os.listdir(f"/proc/{worker}/task")}
    t.check({thread["thread-id"] for thread in threads} <= ids, f"{threads} are threads of the worker: {ids}")
    with open(f"/proc/{worker}/task/{threads[0]['thread-id']}/comm") as f:
        t.check(threads[0]["name"].startswith(f.read().strip()), "they are called so")
    sent = [thread["channel"]["transferred"] for thread in threads if "channel" in thread]
    t.check(len(sent) == 16 and sum(sent) > 16 * 64, f"each channel's bytes: {sent}")
    src.command("migrate_cancel")
    wait_until(lambda: src.status() == "cancelled", "it is cancelled", timeout=0.5)
    t.check(src.command("query-migrationthreads") == [], "no thread is left")
    t.assert_untouched(src)
    wait_until(lambda: dst.status() == "failed", "the destination fails")


def test_nothing_is_left_behind(t):
    src, dst = t.pair(working_set="4M")
    a, b = src.daemon, dst.daemon

    def fail_once():
        t.make_slow(src)
        target = t.incoming(b, t.options, name="target")
        migd_multifd.on(src, target, channels=8)
        t.start(src, target)
        t.wait_active(src)
        src.command("migrate_cancel")
        t.wait_end(src)
        target.kill()
        wait_until(lambda: not a.workers() and not b.workers(), "the workers are gone")
        wait_until(lambda: not (b.guest("target") or {}).get("attached"), "the killed VMM is detached")

    fail_once()
    before = {p.label: p.fds() for p in (a, b, src)}
    for _ in range(4):
        fail_once()
    for process in a, b, src:
        wait_until(lambda p=process: len(p.fds()) <= len(before[p.label]), f"{process.label} closes what it opened")
    t.assert_untouched(src)


def test_there_and_back(t):
    src, dst, _ = moved(t, 2)
    back = t.vmm(src.daemon, **{**t.options, "incoming": True})
    migd_multifd.on(dst, back, channels=5)
    t.migrate(dst, back)
    t.assert_only_runs(back, dst)
    t.assert_memory_verified(back, rounds=2 * back.mem.detail(1))


def test_numbers_that_differ(t):
    """Both sides say what is wrong, at once; nothing happened to the guest."""
    src, dst = t.pair(working_set="4M")
    migd_multifd.on(src, channels=3)
    migd_multifd.on(dst, channels=5)
    t.start(src, dst)
    t.assert_failed(src, "3 multifd channels, and 5")
    t.assert_failed(dst, "multifd-channels must be the same")
    t.assert_untouched(src)


def test_only_the_source_has_it_on(t):
    src, dst = t.pair(working_set="4M")
    migd_multifd.on(src)
    t.start(src, dst)
    t.assert_failed(src, "multifd")
    t.assert_untouched(src)


def test_only_the_destination_has_it_on(t):
    src, dst = t.pair(working_set="4M")
    migd_multifd.on(dst)
    t.start(src, dst)
    t.assert_failed(src, "multifd")
    t.assert_untouched(src)


def test_transports_with_one_channel(t):
    src, dst = t.pair(working_set="4M")
    migd_multifd.on(src, dst)
    t.assert_refused(src, "migrate", {"uri": f"file:{t.dir}/f"}, "multi-channel transport")
    t.assert_refused(dst, "migrate-incoming", {"uri": "fd:nothing"}, "multi-channel transport")


migdtest.main()
