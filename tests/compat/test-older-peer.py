#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 900
"""Hosts of the older build and of this one send each other guests: plain, under TLS, by channels, compressed, in post-copy."""

import shutil

import migd_multifd
import migd_older
import migd_tls
import migdtest
from migd_postcopy import enter_postcopy, finish, prepare
from migd_process import wait_until


def both_ways(t):
    """The builds of a pair: to the older one, and from it."""
    old = migd_older.build()
    return (None, old), (old, None)


def forget_hosts(t):
    for process in reversed(t.processes):
        process.kill()
    for daemon in t.a, t.b:
        shutil.rmtree(daemon.base)


def arrives(t, src, dst):
    info = t.migrate(src, dst)
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    t.check(src.wait_exit() == 0, "the source VMM ends well")
    dst.kill()
    return info


def each(t, prepare_pair, **options):
    for builds in both_ways(t):
        src, dst = t.pair(builds=builds, vmm_builds=builds, working_set="4M", **options)
        t.fill(src)
        check = prepare_pair(src, dst) or (lambda info: None)
        check(arrives(t, src, dst))
        forget_hosts(t)


def test_plain(t):
    each(t, lambda src, dst: None)


def test_tls(t):
    each(t, lambda src, dst: migd_tls.x509(t, src, dst, names=["IP:127.0.0.1"]) and None)


def test_channels(t):
    def prepare_pair(src, dst):
        migd_multifd.on(src, dst, channels=4)
        return lambda info: t.check(info["ram"]["multifd-bytes"] > 0, f"the channels were used: {info['ram']}")
    each(t, prepare_pair)


def test_compressed_channels(t):
    each(t, lambda src, dst: migd_multifd.on(src, dst, channels=2, multifd_compression="zstd"))


def test_xbzrle(t):
    def prepare_pair(src, dst):
        for vmm in src, dst:
            vmm.set_capabilities(xbzrle=True)
    each(t, prepare_pair)


def test_cancelled(t):
    """Nothing is lost, and the next attempt succeeds."""
    for builds in both_ways(t):
        src, dst = t.pair(builds=builds, vmm_builds=builds, working_set="4M")
        t.make_slow(src)
        t.start(src, dst)
        t.wait_active(src)
        t.cancel(src)
        t.speed_up(src)
        t.check(t.wait_end(dst)["status"] in ("failed", "cancelled"), "the target knows")
        dst.kill()
        arrives(t, src, t.incoming(t.b, t.options, build=builds[1]))
        forget_hosts(t)


def postcopy(t, *capabilities):
    for builds in both_ways(t):
        src, dst, _, uri = prepare(t, *capabilities, via_proxy=False, builds=builds, vmm_builds=builds)
        enter_postcopy(t, src, dst, uri)
        finish(t, src, dst)
        dst.kill()
        forget_hosts(t)


def test_postcopy(t):
    postcopy(t)


def test_postcopy_preempt(t):
    postcopy(t, "postcopy-preempt")


def test_preflight(t):
    """What a host asks the other before anything moves."""
    for builds in both_ways(t):
        src, dst = t.pair(builds=builds, vmm_builds=builds, working_set="4M")
        src.command("migrate", {"uri": t.listen(dst), "preflight": "only"})
        found = wait_until(lambda: src.migration().get("preflight"), "the comparison is over")
        t.check(found["result"] == "pass" and not found["mismatches"], f"{found}")
        t.assert_only_runs(src, dst)
        forget_hosts(t)


migdtest.main()
