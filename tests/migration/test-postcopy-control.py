#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Post-copy as an operator sees it: when it can be started, what is refused meanwhile, what both sides show."""

import signal

import migd_ctl
import migdtest
from migd_process import wait_until
from migd_scenario import ENDED

MEMORY = {"memory": "64M", "working_set": "4M"}


def capabilities(vmm, *names, on=True):
    vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": n, "state": on} for n in names]})


def pair(t, *more):
    src, dst = t.pair(**MEMORY)
    for vmm in src, dst:
        capabilities(vmm, "postcopy-ram", *more)
    t.fill(src)
    return src, dst


def wait_status(t, vmm, status):
    def reached():
        info = vmm.migration()
        t.check(info.get("status") == status or info.get("status") not in ENDED, f"{vmm.label} ended: {info}")
        return info if info.get("status") == status else None
    return wait_until(reached, f"{vmm.label} is {status}", 60, alive=[vmm.daemon])


def hold(t, src, dst):
    """In post-copy, where it stays: the background has next to no bandwidth."""
    t.make_slow(src)
    src.set(max_postcopy_bandwidth=4096)
    t.start(src, dst)
    t.wait_active(src)
    src.command("migrate-start-postcopy")
    return wait_status(t, src, "postcopy-active"), wait_status(t, dst, "postcopy-active")


def finish(t, src, dst):
    src.set(max_postcopy_bandwidth=0)
    for vmm in src, dst:
        info = t.wait_end(vmm)
        t.check(info["status"] == "completed", f"{vmm.label}: {info}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    t.check(dst.mem.map[32 << 20:40 << 20] == b"x" * (8 << 20), "what was filled in arrived")


def test_when_it_can_be_started(t):
    src, dst = t.pair(**MEMORY)
    for vmm in src, dst:
        t.assert_refused(vmm, "migrate-start-postcopy", {}, "postcopy-ram", "off")
        capabilities(vmm, "postcopy-ram")
        t.assert_refused(vmm, "migrate-start-postcopy", {}, "no migration .* away from here")
    t.make_slow(src)
    t.fill(src)
    t.start(src, dst)
    t.assert_refused(dst, "migrate-start-postcopy", {}, "no migration .* away from here")
    t.wait_active(src)
    for _ in range(3):
        src.command("migrate-start-postcopy")
    finish(t, src, dst)
    src.command("migrate-start-postcopy")  # nothing happens, and nothing is wrong
    t.check(src.status() == "completed", f"{src.migration()}")


def test_both_sides_have_to_agree(t):
    src, dst = t.pair(**MEMORY)
    for one, other in (src, dst), (dst, src):
        capabilities(one, "postcopy-ram")
        capabilities(other, "postcopy-ram", on=False)
        t.start(src, dst)
        t.assert_failed(src, "capability 'postcopy-ram'", "set it on both sides, or on none")
        t.assert_untouched(src)
        t.check("decisions" not in src.migration(), f"nothing was decided: {src.migration()}")
        t.wait_end(dst)


def test_it_is_not_remembered(t):
    """A new migration begins in pre-copy."""
    src, dst = pair(t)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    src.command("migrate_cancel")
    t.wait_end(src)
    src.command("migrate-start-postcopy")
    dst = t.incoming(t.b, MEMORY, name="g2")
    capabilities(dst, "postcopy-ram")
    t.speed_up(src)
    t.start(src, dst)
    info = t.wait_end(src)
    t.check(info["status"] == "completed" and "postcopy" not in info, f"by pre-copy: {info}")
    t.check(info["ram"]["postcopy-bytes"] == 0, f"{info}")


def test_what_is_refused_and_shown_meanwhile(t):
    src, dst = pair(t, "postcopy-blocktime", "events")
    there, here = hold(t, src, dst)
    t.check(there["downtime"] >= 0 and "blackout" in there and "expected-downtime" not in there, f"{there}")
    t.check(there["ram"]["remaining"] > 0 and "requested" in there["postcopy"] and "missing" not in there["postcopy"], f"{there}")
    t.check(here["postcopy"]["missing"] > 0 and "requested" not in here["postcopy"] and "ram" not in here, f"{here}")
    t.check("postcopy-blocktime" not in here, f"blocktime is shown at the end: {here}")
    t.assert_refused(src, "migrate_cancel", {}, "post-copy is running", "destination")
    t.assert_refused(dst, "migrate_cancel", {}, "post-copy is running")
    for vmm in src, dst:
        t.assert_refused(vmm, "migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": False}]},
                         "in progress")
    t.assert_refused(src, "migrate", {"uri": "tcp:127.0.0.1:1"}, "in progress")
    t.assert_refused(dst, "migrate", {"uri": "tcp:127.0.0.1:1"}, "in progress|incoming")
    t.check(dst.run_state() == "running", f"the guest runs there, and is {dst.run_state()}")
    t.check(src.run_state() != "running", f"and not here: {src.run_state()}")
    status, out, err = migd_ctl.run(src.daemon.qmp_path, "status")
    t.check(status == 0 and "post-copy: " in out and " left" in out, f"{out}{err}")
    status, out, err = migd_ctl.run(dst.daemon.qmp_path, "status")
    t.check(status == 0 and "post-copy: " in out and " missing" in out, f"{out}{err}")
    finish(t, src, dst)
    here = dst.migration()
    t.check(len(here["postcopy-latency-dist"]) == 24 and len(here["postcopy-vcpu-blocktime"]) == 1, f"{here}")
    capabilities(dst, "postcopy-blocktime", on=False)
    t.check("postcopy-blocktime" not in dst.migration() and "postcopy" in dst.migration(), f"{dst.migration()}")


def test_one_that_waits_for_its_turn(t):
    """It switches as soon as it runs, though the daemon that was told so is gone by then."""
    a, b = t.daemon("a"), t.daemon("b")
    first, second = (t.vmm(a, name=n, **MEMORY) for n in ("g0", "g1"))
    there = [t.incoming(b, MEMORY, name=n) for n in ("g0", "g1")]
    for vmm in second, there[1]:
        t.assert_runs(first)
        capabilities(vmm, "postcopy-ram")
    t.assert_runs(second)
    a.qmp.command("host-set-parameters", {"max-outgoing": 1})
    t.make_slow(first)
    t.start(first, there[0])
    t.wait_active(first)
    t.make_slow(second)
    second.command("migrate", {"uri": t.listen(there[1]), "strategy": "auto", "deadline": 3_600_000})
    second.command("migrate-start-postcopy")
    t.check(second.migration().get("queue", {}).get("position") == 1, f"it waits: {second.migration()}")
    a.kill(signal.SIGKILL)
    a.drop_session()
    a = t.daemon("a")
    for vmm in first, second:
        vmm.daemon = a
        vmm.wait_attached()
    t.check(second.migration().get("queue", {}).get("position") == 1, f"it waits: {second.migration()}")
    t.speed_up(first)
    t.wait_end(first)
    info = t.wait_end(second)
    t.check(info["status"] == "completed" and "postcopy" in info, f"by post-copy: {info}")
    t.assert_only_runs(there[1], second)


migdtest.main()
