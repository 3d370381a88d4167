#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# SERIAL: reserves the host's huge pages
"""Guest RAM in huge pages, which have neither SEEK_HOLE nor write()."""

import migd_multifd
import migdtest
from migd_postcopy import succeed_when_freed
from migd_process import wait_until
from migd_snapshot import passes

POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB/"
NR_HUGEPAGES = POOL + "nr_hugepages"
FREE_HUGEPAGES = POOL + "free_hugepages"


def read_number(path):
    with open(path) as f:
        return int(f.read())


def need_huge_pages(t, n):
    migdtest.need_root()
    before = read_number(NR_HUGEPAGES)

    def set_to(count):
        with open(NR_HUGEPAGES, "w") as f:
            f.write(str(count))
    t.cleanup.callback(set_to, before)
    set_to(before + n)
    try:
        wait_until(lambda: read_number(FREE_HUGEPAGES) >= n, "huge pages are free", timeout=5)
    except AssertionError:
        raise migdtest.Skip(f"the host has no {n} free huge pages of 2 MiB") from None


def test_to_huge_pages(t):
    need_huge_pages(t, 80)
    src, dst = t.pair(memory="64M", working_set="8M", hugetlb=True)
    src.mem.map[48 << 20:49 << 20] = b"y" * (1 << 20)
    t.migrate(src, dst)
    t.assert_only_runs(dst, src)
    t.check(dst.mem.map[48 << 20:49 << 20] == b"y" * (1 << 20), "memory filled from outside arrived")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_over_channels(t):
    """Short runs of a huge page come over several channels at once."""
    need_huge_pages(t, 80)
    src, dst = t.pair(memory="64M", working_set="8M", hugetlb=True)
    migd_multifd.on(src, dst, channels=3)
    src.mem.map[48 << 20:49 << 20] = b"y" * (1 << 20)
    t.migrate(src, dst)
    t.assert_only_runs(dst, src)
    t.check(dst.mem.map[48 << 20:49 << 20] == b"y" * (1 << 20), "memory filled from outside arrived")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_postcopy(t):
    """A huge page is asked for, sent, and shown as a whole."""
    need_huge_pages(t, 80)
    src, dst = t.pair(memory="64M", working_set="8M", hugetlb=True)
    for side in src, dst:
        side.set_capabilities(postcopy_ram=True)
    src.mem.map[48 << 20:49 << 20] = b"y" * (1 << 20)
    src.set(max_bandwidth=4 << 20)
    t.start(src, dst)
    src.command("migrate-start-postcopy")
    for side in src, dst:
        info = t.wait_end(side)
        t.check(info["status"] == "completed", f"{info}")
    t.assert_only_runs(dst, src)
    t.check(dst.mem.map[48 << 20:49 << 20] == b"y" * (1 << 20), "memory filled from outside arrived")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_background_snapshot(t):
    """Protected, and copied, as a whole each."""
    need_huge_pages(t, 80)
    options = {"memory": "64M", "working_set": "16M", "hugetlb": True}
    t.a, t.b = t.daemon("a"), t.daemon("b")
    src = t.vmm(t.a, **options)
    wait_until(lambda: passes(src) >= 2, "the guest has written all of its memory", 60, alive=[src])
    src.command("migrate-set-capabilities", {"capabilities": [{"capability": "background-snapshot", "state": True}]})
    t.make_slow(src)
    src.command("migrate", {"uri": f"file:{t.dir}/guest"})
    t.wait_active(src)
    t.assert_memory_verified(src, rounds=2 * src.mem.detail(1))
    t.speed_up(src)
    t.check(t.wait_end(src)["status"] == "completed", f"the source says {src.migration()}")
    t.assert_memory_verified(src, rounds=2 * src.mem.detail(1))
    dst = t.incoming(t.b, options)
    dst.command("migrate-incoming", {"uri": f"file:{t.dir}/guest", "exit-on-error": False})
    t.check(t.wait_end(dst)["status"] == "completed", f"it is loaded: {dst.migration()}")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_postcopy_release_ram(t):
    """Freed as a whole, too; no page says that it is a hole."""
    need_huge_pages(t, 80)
    succeed_when_freed(t, hugetlb=True)


def test_postcopy_preempt(t):
    """Huge pages travel, and are waited for, as a whole; on either of two connections."""
    need_huge_pages(t, 80)
    src, dst = t.pair(memory="64M", working_set="8M", hugetlb=True)
    for side in src, dst:
        side.set_capabilities(postcopy_ram=True, postcopy_preempt=True)
    src.mem.map[48 << 20:49 << 20] = b"y" * (1 << 20)
    src.set(max_bandwidth=4 << 20, max_postcopy_bandwidth=4 << 20)
    t.start(src, dst)
    t.wait_active(src, sent_bytes=1 << 20)
    src.command("migrate-start-postcopy")
    wait_until(lambda: src.status() in ("postcopy-active", "completed"), "the guest runs on the target", timeout=60, alive=[src])
    t.assert_memory_verified(dst)
    src.set(max_postcopy_bandwidth=0)
    info = t.wait_end(src)
    t.check(info["status"] == "completed" and info["ram"]["postcopy-requests"] > 0, f"{info}")
    t.check(t.wait_end(dst)["status"] == "completed", f"{dst.migration()}")
    t.assert_only_runs(dst, src)
    t.check(dst.mem.map[48 << 20:49 << 20] == b"y" * (1 << 20), "memory filled from outside arrived")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_from_huge_to_small_pages(t):
    need_huge_pages(t, 40)
    src, dst = t.pair(memory="64M", working_set="8M", hugetlb=True, dst_changes={"hugetlb": False})
    t.migrate(src, dst)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_from_small_to_huge_pages(t):
    need_huge_pages(t, 40)
    src, dst = t.pair(memory="64M", working_set="8M", dst_changes={"hugetlb": True})
    t.migrate(src, dst)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def by_a_file(t, here, there):
    """mapped-ram: pages are read into huge pages, and written from them, on several threads."""
    need_huge_pages(t, 80)
    src, dst = t.pair(memory="64M", working_set="8M", hugetlb=here, dst_changes={"hugetlb": there})
    src.mem.map[48 << 20:49 << 20] = b"y" * (1 << 20)
    for vmm in src, dst:
        vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": "mapped-ram", "state": True}]})
    src.command("migrate", {"uri": f"file:{t.dir}/guest"})
    t.check(t.wait_end(src)["status"] == "completed", f"the source says {src.migration()}")
    dst.command("migrate-incoming", {"uri": f"file:{t.dir}/guest", "exit-on-error": False})
    t.check(t.wait_end(dst)["status"] == "completed", f"the destination says {dst.migration()}")
    t.check(dst.mem.map[48 << 20:49 << 20] == b"y" * (1 << 20), "memory filled from outside arrived")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_saved_from_huge_pages(t):
    by_a_file(t, True, False)


def test_restored_into_huge_pages(t):
    by_a_file(t, False, True)


def test_restored_lazily(t):
    """What is waited for are huge pages, and the file has parts of them."""
    need_huge_pages(t, 112)
    src, dst = t.pair(memory="96M", working_set="8M", hugetlb=True)
    for vmm in src, dst:
        vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": "mapped-ram", "state": True}]})
    src.mem.map[(64 << 20) + 4096:84 << 20] = b"y" * ((20 << 20) - 4096)
    src.command("migrate", {"uri": f"file:{t.dir}/guest"})
    t.check(t.wait_end(src)["status"] == "completed", f"{src.migration()}")
    dst.set(max_postcopy_bandwidth=2 << 20)
    dst.command("migrate-incoming", {"uri": f"file:{t.dir}/guest", "lazy": True, "exit-on-error": False})
    wait_until(lambda: dst.status() == "postcopy-active", "it runs", alive=[dst.daemon])
    t.assert_runs(dst)
    t.check(dst.migration()["postcopy"]["missing"] > 0, "it did so with pages missing")
    dst.set(max_postcopy_bandwidth=0)
    t.check(t.wait_end(dst)["status"] == "completed", f"{dst.migration()}")
    t.check(dst.mem.map[64 << 20:84 << 20] == bytes(4096) + b"y" * ((20 << 20) - 4096), "what it had in memory is there")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


migdtest.main()
