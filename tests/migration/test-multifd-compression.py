#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Compressed pages on parallel channels: a guest that writes all the time arrives whole, and mistakes are named."""

import migd_multifd
from migd_process import wait_until
import migdtest


def moved(t, codec, level, channels=2, working_set="16M"):
    """A guest that rewrites and verifies its memory, in several passes (fewer if it gets no CPU during one, and so is done)."""
    src, dst = t.pair(memory="128M", working_set=working_set)
    migd_multifd.on(src, dst, channels=channels, multifd_compression=codec, **{f"multifd_{codec}_level": level})
    src.set(max_bandwidth=16 << 20, downtime_limit=1)
    t.start(src, dst)
    wait_until(lambda: src.migration().get("ram", {}).get("dirty-sync-count", 0) >= 4 or
               src.migration()["status"] in migdtest.ENDED, "some passes", timeout=90, alive=[t.a])
    src.set(max_bandwidth=0, downtime_limit=2000)
    t.check(t.wait_end(src)["status"] == "completed", f"the source says {src.migration()}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    return src.migration()["ram"]


def test_zlib(t):
    moved(t, "zlib", 1)


def test_zstd(t):
    ram = moved(t, "zstd", 1)
    t.check(0 < ram["multifd-bytes"] <= ram["transferred"], f"what the channels took is told: {ram}")


def test_zlib_stored(t):
    moved(t, "zlib", 0, channels=1)


def test_zstd_hard(t):
    moved(t, "zstd", 9, channels=5, working_set="4M")


def test_over_unix(t):
    src, dst = t.pair(working_set="8M")
    migd_multifd.on(src, dst, multifd_compression="zstd")
    t.migrate(src, dst, f"unix:{t.dir}/there")
    t.assert_memory_verified(dst)


def mismatch(t, there, here):
    """Both sides say what differs, and the guest runs on."""
    src, dst = t.pair(working_set="8M")
    migd_multifd.on(src, multifd_compression=there)
    migd_multifd.on(dst, multifd_compression=here)
    t.start(src, dst)
    t.assert_failed(dst, f"is another compression than '{here}', which is what multifd-compression says here")
    t.assert_failed(src, "multifd-compression")
    t.assert_untouched(src)


def test_zlib_is_not_zstd(t):
    mismatch(t, "zlib", "zstd")


def test_zstd_is_not_none(t):
    mismatch(t, "zstd", "none")


def test_none_is_not_zlib(t):
    mismatch(t, "none", "zlib")


migdtest.main()
