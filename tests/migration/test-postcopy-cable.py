#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# SERIAL: makes network namespaces with fixed addresses
# TIMEOUT: 180
"""The cable is pulled in post-copy: no side is told, both notice by themselves, and go on when it is plugged in again."""

import migd_netns
import migdtest
from migd_postcopy import MEMORY, capabilities, enter_postcopy, finish, wait_status


def test_pulled_and_plugged_in(t):
    migdtest.need_root()
    hosts = t.cleanup.enter_context(migd_netns.pair())
    a, b = t.daemon("a", netns=hosts.names[0]), t.daemon("b", netns=hosts.names[1])
    src = t.vmm(a, **MEMORY)
    dst = t.incoming(b, MEMORY)
    t.assert_runs(src)
    for vmm in src, dst:
        capabilities(vmm, "postcopy-ram", "events")
    t.fill(src)
    uri = t.listen(dst, f"tcp:{hosts.addresses[1]}:0")
    enter_postcopy(t, src, dst, uri)
    hosts.cable(plugged=False)
    for vmm in src, dst:
        wait_status(t, vmm, "postcopy-paused")
    t.assert_stopped(src)
    hosts.cable(plugged=True)
    for vmm in src, dst:
        wait_status(t, vmm, "postcopy-active")
    finish(t, src, dst)


migdtest.main()
