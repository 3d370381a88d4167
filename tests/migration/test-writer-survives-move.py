#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A guest that rewrites and verifies its memory goes on doing so on the other side."""

import migdtest


def test_writer_survives_move(t):
    src, dst = t.pair(memory="128M", working_set="16M")
    t.assert_memory_verified(src)
    info = t.migrate(src, dst)
    t.assert_only_runs(dst, src)
    # Two rounds: every page that came over was checked, and every page that was written here.
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    t.check(dst.run_state() == "running", f"the destination is {dst.run_state()}")
    t.check(src.wait_exit() == 0, "the source VMM ends well")
    t.check("runs elsewhere" in src.log_text(), "the source VMM says why it ends")
    ram = info["ram"]
    t.check(ram["normal"] * 4096 >= 16 << 20, f"the working set was sent: {ram}")
    t.check(ram["hole"] * 4096 > 96 << 20, f"what the guest never touched was not sent: {ram}")
    t.check(ram["remaining"] == 0, f"nothing remains: {ram}")


def test_result_says_what_happened(t):
    src, dst = t.pair(working_set="4M")
    info = t.migrate(src, dst)
    for member in "total-time", "setup-time", "downtime", "ram", "blackout", "handover":
        t.check(member in info, f"query-migrate lacks {member}: {info}")
    t.check(info["handover"]["state"] == "retired", f"the source is retired: {info['handover']}")
    other = dst.migration()
    t.check(other["handover"]["state"] == "running", f"the destination runs: {other}")
    t.check(other["handover"]["id"] == info["handover"]["id"], "both sides name the same handover")
    t.check("ram" not in other, f"the destination has no ram statistics: {other}")


migdtest.main()
