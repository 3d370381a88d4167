#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""What happens to pages on their way: differences, zeros, shared memory."""

import os

from migd_process import wait_until
from migd_scenario import PATIENCE, main, scenario


@scenario("precopy/unix/xbzrle")
def precopy_unix_xbzrle(s):
    s.start()
    s.capabilities(s.src, "xbzrle")
    s.set(s.src, xbzrle_cache_size=33554432)

    def two_passes():
        s.wait_dirty()
        # A small guest's writes fit into one pass: there is always another one as long as it is slow.
        s.set(s.src, max_bandwidth=30_000_000)
        s.wait_passes(2)
        wait_until(lambda: s.src.migration()["xbzrle-cache"]["pages"] > 0, "pages are in the cache", PATIENCE, alive=[s.src])
        # Live: the cache gets another size.
        s.set(s.src, xbzrle_cache_size=16777216)
        wait_until(lambda: s.src.migration()["xbzrle-cache"]["cache-size"] == 16777216, "the cache shrinks", PATIENCE,
                   alive=[s.src])

    s.precopy(s.unix_uri(), live=True, wait=two_passes)
    stats = s.src.migration()["xbzrle-cache"]
    s.check(stats["bytes"] > 0 and stats["pages"] > 0 and stats["cache-miss"] > 0, f"xbzrle was at work: {stats}")
    s.check(stats["bytes"] < 4096 * stats["pages"] / 4, f"one byte of a page changed, and its code is short: {stats}")
    s.check(0 <= stats["cache-miss-rate"] <= 1 and stats["encoding-rate"] > 4, f"rates: {stats}")
    s.check(stats["overflow"] == 0, f"none got larger: {stats}")


@scenario("ignore-shared")
def ignore_shared(s):
    s.start(shared_memory=os.path.join(s.shm, "shared.ram"))
    s.capabilities(s.src, "x-ignore-shared")
    s.capabilities(s.dst, "x-ignore-shared")
    inode = os.stat(s.src.memory_file).st_ino
    s.precopy(s.unix_uri(), live=True, wait=lambda: None)  # there is no page to wait for
    ram = s.src.migration()["ram"]
    s.check(ram["transferred"] < 4 << 20, f"nothing but devices was sent: {ram}")
    s.check(ram["normal"] == ram["duplicate"] == ram["total"] == 0, f"no page was sent: {ram}")
    s.check(os.stat(s.dst.memory_file).st_ino == inode, "both have one file")


main()
