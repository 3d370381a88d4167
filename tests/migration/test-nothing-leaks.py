#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""Failed migrations leave no descriptor, process, socket or dirty logging behind."""

import os

import migdtest
from migd_fault_checks import surplus
from migd_process import wait_until


def test_after_failures(t):
    src, dst = t.pair(working_set="4M")
    a, b = src.daemon, dst.daemon

    def fail_once():
        t.make_slow(src)
        target = t.incoming(b, t.options, name="target")
        t.start(src, target)
        t.wait_active(src)
        src.command("migrate_cancel")
        t.wait_end(src)
        target.kill()
        wait_until(lambda: not a.workers() and not b.workers(), "the workers are gone")
        wait_until(lambda: not (b.guest("target") or {}).get("attached"), "the killed VMM is detached")

    fail_once()
    before = {p.label: p.fds() for p in (a, b, src)}
    for _ in range(5):
        fail_once()
    for process in a, b, src:
        wait_until(lambda p=process: not surplus(p.fds(), before[p.label]),
                   f"{process.label} closes what it opened: {surplus(process.fds(), before[process.label])}")
    left = os.listdir(os.path.join(a.state_dir, "workers")) if os.path.isdir(os.path.join(a.state_dir, "workers")) else []
    t.check(left == [], f"no worker's socket is left: {left}")
    t.assert_untouched(src)


migdtest.main()
