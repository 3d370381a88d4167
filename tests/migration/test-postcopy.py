#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Post-copy between migds: the guest runs on the target while its memory follows, and finds all of it as it left it."""

import os

import migd_multifd
import migd_tls
import migdtest
from migd_process import wait_until

TRICKLE = 1 << 20  # bytes/s: the background takes longer than a test


def sides(t, *capabilities, **options):
    if not os.path.exists("/dev/userfaultfd"):
        raise migdtest.Skip("/dev/userfaultfd is missing")
    src, dst = t.pair(**{"memory": "32M", "working_set": "8M", **options})
    for side in src, dst:
        side.set_capabilities(**{c: True for c in ("postcopy_ram", *capabilities)})
    return src, dst


def postcopy(t, src, dst, **parameters):
    """Start, and switch before pre-copy has sent much."""
    src.set(max_bandwidth=4 << 20, **parameters)
    t.start(src, dst)
    src.command("migrate-start-postcopy")


def wait_postcopy(t, src, *statuses):
    def switched():
        info = src.migration()
        t.check(info["status"] not in ("failed", "postcopy-paused"), f"the source says {info}")
        return info["status"] in (*statuses, "completed")
    wait_until(switched, f"the source is in {statuses}", timeout=60, alive=[src.daemon])


def finished(t, src, dst):
    """All has arrived, and is what it was; the source's last statistics."""
    infos = [t.wait_end(side) for side in (src, dst)]
    for info in infos:
        t.check(info["status"] == "completed", f"{info}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    ram = infos[0]["ram"]
    t.check(ram["postcopy-bytes"] > 0, f"memory was sent behind the guest: {infos[0]}")
    t.check(ram["precopy-bytes"] + ram["downtime-bytes"] + ram["postcopy-bytes"] <= ram["transferred"], f"{ram}")
    return infos[0]


def moves(t, *capabilities, **options):
    src, dst = sides(t, *capabilities, **options)
    postcopy(t, src, dst)
    return finished(t, src, dst)


def walks(t, *capabilities):
    """The guest gets on with requests alone."""
    src, dst = sides(t, *capabilities)
    postcopy(t, src, dst, max_postcopy_bandwidth=TRICKLE)
    wait_postcopy(t, src, "postcopy-active")
    t.assert_runs(dst)
    t.assert_memory_verified(dst, rounds=256)
    info = src.migration()
    t.check(info["status"] == "postcopy-active", f"the background is slow: {info}")
    t.check(info["ram"]["postcopy-requests"] > 3, f"pages were asked for: {info}")
    t.check(info["postcopy"]["prefetched"] > info["postcopy"]["requested"], f"and came with those behind them: {info}")
    src.set(max_postcopy_bandwidth=0)
    finished(t, src, dst)


def test_all_of_the_memory(t):
    info = moves(t)
    t.check(info["downtime"] < 10000 and info["postcopy"]["background"] > 0, f"{info}")


def test_two_vcpus(t):
    moves(t, cpus=2)


def test_requests(t):
    walks(t)


def test_requests_on_a_channel_of_their_own(t):
    walks(t, "postcopy_preempt")


def test_after_passes(t):
    """Some of it was sent, and dirtied again."""
    src, dst = sides(t)
    src.set(max_bandwidth=8 << 20, downtime_limit=0)
    t.start(src, dst)
    wait_until(lambda: src.migration().get("ram", {}).get("dirty-sync-count", 0) > 1, "passes were made", alive=[src.daemon])
    src.command("migrate-start-postcopy")
    finished(t, src, dst)


def test_channels_for_precopy(t):
    src, dst = sides(t)
    migd_multifd.on(src, dst, channels=3)
    src.set(max_bandwidth=4 << 20)
    t.start(src, dst)
    t.wait_active(src, sent_bytes=1 << 20)
    src.command("migrate-start-postcopy")
    finished(t, src, dst)


def test_xbzrle_for_precopy(t):
    src, dst = sides(t, "xbzrle")
    src.set(max_bandwidth=8 << 20, downtime_limit=0)
    t.start(src, dst)
    wait_until(lambda: src.migration().get("ram", {}).get("dirty-sync-count", 0) > 1, "passes were made", alive=[src.daemon])
    src.command("migrate-start-postcopy")
    finished(t, src, dst)


def test_tls(t):
    src, dst = sides(t, "postcopy_preempt")
    migd_tls.psk(t, src, dst)
    postcopy(t, src, dst, max_postcopy_bandwidth=16 << 20)
    finished(t, src, dst)


def test_stopped_for_a_look_before(t):
    src, dst = sides(t, "pause_before_switchover")
    postcopy(t, src, dst)
    wait_until(lambda: src.status() == "pre-switchover", "the guest is stopped", alive=[src.daemon])
    t.assert_stopped(src)
    src.command("migrate-continue", {"state": "pre-switchover"})
    finished(t, src, dst)


def test_what_was_sent_is_freed(t):
    src, dst = sides(t, "release_ram", memory="64M")
    t.fill(src, length=24 << 20)
    before = src.allocated()
    postcopy(t, src, dst, max_postcopy_bandwidth=4 << 20)
    wait_until(lambda: src.allocated() < before - (2 << 20), "the source's memory shrinks", alive=[src, dst])
    src.set(max_postcopy_bandwidth=0)
    finished(t, src, dst)


def test_a_stopped_guest_stays_stopped(t):
    src, dst = sides(t)
    src.command("stop")
    postcopy(t, src, dst)
    for side in src, dst:
        info = t.wait_end(side)
        t.check(info["status"] == "completed", f"{info}")
    t.check(dst.run_state() == "paused", f"the guest is {dst.run_state()}")
    dst.command("cont")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_cancelled_before(t):
    """Until the target has it all it can be taken back."""
    src, dst = sides(t, "pause_before_switchover")
    postcopy(t, src, dst)
    wait_until(lambda: src.status() == "pre-switchover", "the guest is stopped", alive=[src.daemon])
    t.cancel(src)
    t.assert_untouched(src)


def test_not_needed_after_all(t):
    src, dst = sides(t)
    info = t.migrate(src, dst)
    t.check(info["ram"]["postcopy-bytes"] == 0, f"{info}")
    t.assert_only_runs(dst, src)


def test_asked_for_too_late(t):
    """When the guest is stopped already, to move all at once: the last pass is sent to its end."""
    src, dst = sides(t, "pause_before_switchover", working_set="16M")
    src.set(downtime_limit=60000, max_bandwidth=16 << 20)
    t.start(src, dst)
    wait_until(lambda: src.status() == "pre-switchover", "the guest is stopped", 60, alive=[src.daemon])
    src.command("migrate-start-postcopy")
    src.command("migrate-continue", {"state": "pre-switchover"})
    info = t.wait_end(src)
    t.check(info["status"] == "completed" and info["ram"]["postcopy-bytes"] == 0, f"{info}")
    t.check(info["ram"]["downtime-bytes"] > 4 << 20, f"there was much to be sent yet: {info}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_the_target_has_it_off(t):
    src, dst = sides(t)
    dst.set_capabilities(postcopy_ram=False)
    postcopy(t, src, dst)
    t.assert_failed(src, "postcopy-ram")
    t.assert_untouched(src)


def test_a_file_cannot_ask(t):
    src, _dst = sides(t)
    src.command("migrate", {"uri": f"file:{t.dir}/saved"})
    t.assert_failed(src, "postcopy-ram", "ask for pages")
    t.assert_untouched(src)


migdtest.main()
