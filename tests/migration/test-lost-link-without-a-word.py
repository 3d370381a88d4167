#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# SERIAL: makes network namespaces with fixed addresses
# TIMEOUT: 180
"""The other host vanishes without a word, nothing is reset or closed: that is noticed, and the migration goes on when it is back."""

import migdtest
import migd_netns
from migd_process import wait_until


def test_other_host_vanishes(t):
    migdtest.need_root()
    spaces = t.cleanup.enter_context(migd_netns.pair())
    a, b = t.daemon("a", netns=spaces.names[0]), t.daemon("b", netns=spaces.names[1])
    options = {"memory": "48M", "working_set": "8M"}
    src = t.vmm(a, **options)
    dst = t.incoming(b, options)
    t.assert_memory_verified(src)
    for side in src, dst:
        side.set(reconnect_timeout=60000)
    t.make_slow(src, 4 << 20)
    t.start(src, dst, f"tcp:{spaces.addresses[1]}:0")
    t.wait_active(src)
    a.qmp.skip_events()
    # The far end: here nothing is wrong but that nobody answers.
    spaces.ip(1, "link", "set", spaces.links[1], "down")
    wait_until(lambda: any(e.name == "MIGRATION_RECONNECT" for e in a.qmp.poll_events()), "the source notices", timeout=60)
    t.check(src.status() == "active" and dst.status() == "active", f"both go on: {src.status()}, {dst.status()}")
    t.assert_runs(src)
    spaces.ip(1, "link", "set", spaces.links[1], "up")
    wait_until(lambda: src.migration().get("reconnects"), "they find each other again", timeout=60)
    t.speed_up(src)
    t.check(t.wait_end(src)["status"] == "completed", f"it completes: {src.migration()}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


migdtest.main()
