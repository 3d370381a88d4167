#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""
That pages on their way when a connection breaks are sent again is what tests/migration/test-lost-link-goes-on.py relies on: here a
source is made to forget them, and it shows.
"""

import migdtest
from migd_process import wait_until

MIB = 1 << 20


def test_forgotten_pages_are_noticed(t):
    a, b = t.daemon("a", env={"MIGD_FAULT": "unacked-forgotten"}), t.daemon("b")
    options = {"memory": "64M", "working_set": "1M"}
    src = t.vmm(a, **options)
    dst = t.incoming(b, options)
    t.assert_memory_verified(src)
    t.fill(src, 16 * MIB, 44 * MIB)
    want = src.mem.map[16 * MIB:60 * MIB]
    port = int(t.listen(dst).rpartition(":")[2])
    link = t.proxy(port, cuts=[("out", 20 * MIB)])
    src.set(max_bandwidth=0)
    src.command("migrate", {"uri": link.uri})
    wait_until(lambda: src.migration().get("reconnects"), "it goes on", alive=[src.daemon])
    t.check(t.wait_end(src)["status"] == "completed", f"it completes: {src.migration()}")
    got = dst.mem.map[16 * MIB:60 * MIB]
    lost = [page for page in range(0, len(want), 4096) if want[page:page + 4096] != got[page:page + 4096]]
    print(f"{len(lost)} pages are missing", flush=True)
    t.check(lost, "nothing is missing, though it was forgotten: then the tests do not tell")


migdtest.main()
