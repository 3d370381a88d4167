#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Memory sent without being copied: it arrives whole, the kernel's copies are counted, and what cannot work says so."""

import subprocess

import migd_multifd
import migdtest
from migd_process import wait_until


def zero_copy(src, on=True):
    src.command("migrate-set-capabilities", {"capabilities": [{"capability": "zero-copy-send", "state": on}]})


def dense(src, at=64 << 20, size=32 << 20):
    """Long stretches of memory that is no hole: these are what goes by reference."""
    random = migdtest.seed()
    src.mem.map[at:at + size] = random.randbytes(size)
    return at, size


def test_arrives_and_is_counted(t):
    src, dst = t.pair(memory="128M", working_set="16M")
    migd_multifd.on(src, dst, channels=2)
    zero_copy(src)
    at, size = dense(src)
    src.set(max_bandwidth=60 << 20, downtime_limit=1)
    t.start(src, dst)
    wait_until(lambda: src.migration().get("ram", {}).get("dirty-sync-count", 0) >= 3, "some passes", timeout=60,
               alive=[t.a])
    src.set(max_bandwidth=0, downtime_limit=2000)
    t.check(t.wait_end(src)["status"] == "completed", f"the source says {src.migration()}")
    ram = src.migration()["ram"]
    # Loopback: each channel's round with such memory in it.
    missed = ram["dirty-sync-missed-zero-copy"]
    t.check(0 < missed <= 2 * ram["dirty-sync-count"], f"copies were counted: {ram}")
    t.check(dst.mem.map[at:at + size] == src.mem.map[at:at + size], "memory that nobody wrote to arrived")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_off_counts_nothing(t):
    src, dst = t.pair(memory="128M", working_set="8M")
    migd_multifd.on(src, dst)
    dense(src)
    t.check(t.migrate(src, dst)["ram"]["dirty-sync-missed-zero-copy"] == 0, "nothing was to go without a copy")


def test_other_sockets(t):
    """The migration fails when it connects, and the guest runs on; by tcp it goes."""
    src, dst = t.pair(working_set="8M")
    migd_multifd.on(src, dst)
    zero_copy(src)
    t.start(src, dst, f"unix:{t.dir}/there")
    t.assert_failed(src, "this socket does not have the kernel.s feature")
    t.assert_untouched(src)


def test_limit_of_locked_memory(t):
    src, dst = t.pair(working_set="8M")
    migd_multifd.on(src, dst, channels=8)
    zero_copy(src)
    # Its workers inherit it.
    subprocess.run(["prlimit", "--pid", str(src.daemon.pid), "--memlock=1048576:1048576"], check=True)
    t.start(src, dst)
    t.assert_failed(src, "4096 KiB for 8 channels, and RLIMIT_MEMLOCK allows 1024 KiB; raise it")
    t.assert_untouched(src)


def test_more_than_can_be_locked(t):
    """What is over the limit is copied."""
    src, dst = t.pair(memory="128M", working_set="8M")
    migd_multifd.on(src, dst, channels=2)
    zero_copy(src)
    at, size = dense(src)
    subprocess.run(["prlimit", "--pid", str(src.daemon.pid), "--memlock=1048576:1048576"], check=True)
    t.migrate(src, dst)
    t.check(dst.mem.map[at:at + size] == src.mem.map[at:at + size], "all of it arrived")
    t.assert_memory_verified(dst)


def test_what_excludes_it(t):
    src, _ = t.pair(working_set="8M")

    def refused(parameters, text):
        t.assert_refused(src, "migrate-set-parameters", parameters, text)

    t.assert_refused(src, "migrate-set-capabilities",
                     {"capabilities": [{"capability": "zero-copy-send", "state": True}]}, "requires capability 'multifd'")
    migd_multifd.on(src)
    src.set(multifd_compression="zstd")
    t.assert_refused(src, "migrate-set-capabilities",
                     {"capabilities": [{"capability": "zero-copy-send", "state": True}]}, "multifd_compression")
    src.set(multifd_compression="none")
    zero_copy(src)
    refused({"multifd-compression": "zlib"}, "'zero-copy-send' is not compatible with parameter 'multifd_compression'")
    refused({"tls-creds": "some"}, "TLS")


migdtest.main()
