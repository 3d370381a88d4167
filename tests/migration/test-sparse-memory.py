#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""What the guest never touched is neither read, nor sent, nor allocated on the other side."""

import migdtest

TOLERANCE = 1 << 20  # bytes: the VMM's own pages, such as tables it writes at the start


def test_destination_stays_sparse(t):
    src, dst = t.pair(memory="2G", working_set="8M")
    t.assert_memory_verified(src, rounds=src.mem.detail(1))
    info = t.migrate(src, dst)
    here, there = src.allocated(), dst.allocated()
    t.check(there <= here + TOLERANCE, f"{there} bytes are allocated at the destination, {here} at the source")
    t.check(info["ram"]["transferred"] < 64 << 20, f"holes were not sent: {info['ram']}")
    t.assert_memory_verified(dst)


def test_source_stays_sparse(t):
    src, dst = t.pair(memory="2G", payload="idle")
    before = src.allocated()
    t.migrate(src, dst)
    t.check(src.allocated() <= before + TOLERANCE, f"reading holes allocated {src.allocated() - before} bytes")


def test_zero_pages_stay_zero(t):
    """Touched memory that is all zero arrives as zero."""
    src, dst = t.pair(memory="256M", payload="idle")
    start, length = 64 << 20, 128 << 20
    src.mem.map[start:start + length] = bytes(length)
    t.check(src.allocated() >= length, "the source's memory is there")
    info = t.migrate(src, dst)
    t.check(info["ram"]["transferred"] < 16 << 20, f"zero pages were not sent in full: {info['ram']}")
    t.check(not any(dst.mem.map[start:start + length]), "they are zero on the other side")


def test_zero_pages_are_sent_in_full(t):
    """zero-page-detection none: zero pages go as any other; memory never touched is skipped all the same."""
    src, dst = t.pair(memory="2G", payload="idle")
    src.command("migrate-set-parameters", {"zero-page-detection": "none"})
    start, length = 64 << 20, 32 << 20
    src.mem.map[start:start + length] = bytes(length)
    info = t.migrate(src, dst)
    t.check(length < info["ram"]["transferred"] < 96 << 20, f"what was touched was sent in full: {info['ram']}")
    t.check(info["ram"]["normal"] >= length // 4096, f"and counted as such: {info['ram']}")
    t.check(not any(dst.mem.map[start:start + length]), "it is zero on the other side")


def test_contents_arrive(t):
    """Memory filled from outside is the same on the other side, byte for byte."""
    random = migdtest.seed()
    src, dst = t.pair(memory="256M", payload="idle")
    places = {}
    for _ in range(200):
        at = random.randrange(32 << 20, (256 << 20) - 70000)
        data = random.randbytes(random.choice((1, 100, 4096, 65536)))
        src.mem.map[at:at + len(data)] = data
        places[at] = len(data)
    t.migrate(src, dst)
    for at, length in places.items():
        t.check(dst.mem.map[at:at + length] == src.mem.map[at:at + length], f"{length} bytes at {at:#x} differ")


migdtest.main()
