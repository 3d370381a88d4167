#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A guest of nothing but memory (--machine none) moves like any other, and fits only its like."""

import migd_pattern
import migdtest


def test_there_and_back(t):
    src, dst = t.pair(started=False, memory="32M", ram_only="r0")
    migd_pattern.write(src.memory_file, "mixed")
    before = migd_pattern.digest(src.memory_file)
    t.migrate(src, dst)
    t.check(migd_pattern.digest(dst.memory_file) == before, "the memory arrived")
    t.check(src.wait_exit() == 0, "the source's VMM ends")
    back = t.incoming(t.a, t.options)
    t.migrate(dst, back)
    t.check(migd_pattern.digest(back.memory_file) == before, "and came back")


def test_paused_stays_paused(t):
    src, dst = t.pair(started=False, memory="16M", ram_only="r0")
    src.command("stop")
    t.migrate(src, dst)
    t.check(dst.run_state() == "paused", f"it arrived paused: {dst.run_state()}")
    dst.command("cont")
    t.check(dst.run_state() == "running", "and can be let go")


def refused(t, src, dst, *words):
    t.start(src, dst)
    info = t.wait_end(src)
    t.check(info["status"] == "failed", f"it did not fit: {info}")
    for word in words:
        t.check(word in info["error-desc"], f"{info['error-desc']!r} names {word!r}")


def test_another_block_name_is_named(t):
    src, dst = t.pair(started=False, memory="16M", ram_only="r0", dst_changes={"ram_only": "r1"})
    refused(t, src, dst, "ram block 'r0'", "ram block 'r1'")


def test_a_machine_does_not_fit(t):
    src, dst = t.pair(started=False, memory="16M", ram_only="ram", dst_changes={"ram_only": None})
    refused(t, src, dst, "vCPUs: 0 at the source, 1 at the destination")


def test_does_not_fit_a_machine(t):
    src, dst = t.pair(started=False, memory="16M", payload="idle", dst_changes={"ram_only": "ram"})
    refused(t, src, dst, "vCPUs: 1 at the source, 0 at the destination")
    t.assert_untouched(src)


migdtest.main()
