#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""A guest that does not converge: what its migration decides, says, and does."""

import signal

import migdtest
from migd_process import wait_until

# 4 MiB that are written again faster than 2 MiB/s can send them.
BUSY = {"payload": "writer", "memory": "64M", "working_set": "4M"}
SLOW = {"max_bandwidth": 2 << 20, "downtime_limit": 1}


def capabilities(vmm, *names):
    vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": n, "state": True} for n in names]})


def begin(t, src, dst, **arguments):
    src.command("migrate", {"uri": t.listen(dst), **arguments})


def decisions(vmm, kind=None):
    return [d for d in vmm.migration().get("decisions", []) if kind in (None, d["decision"])]


def wait_decision(vmm, kind):
    return wait_until(lambda: decisions(vmm, kind), f"it decides: {kind}", 60, alive=[vmm, vmm.daemon])[0]


def events_of(vmm):
    vmm.daemon.qmp.poll_events()
    return [{k: v for k, v in e.data.items() if k != "guest"} for e in vmm.daemon.qmp.events
            if e.name == "MIGRATION_DECISION" and e.guest == vmm.name]


def test_a_deadline_ends_precopy(t):
    src, dst = t.pair(**BUSY)
    src.set(**SLOW)
    begin(t, src, dst, deadline=3000)
    t.assert_failed(src, "deadline of 3000 ms", "strategy precopy", "stays here")
    t.assert_untouched(src)
    t.assert_memory_verified(src)
    kinds = [d["decision"] for d in decisions(src)]
    t.check(kinds == ["give-up"], f"it decided {kinds}")
    last, = events_of(src)
    t.check(last == decisions(src)[0], f"the event says {last}")
    t.check(last["time"] >= 3000 and last["pass"] >= 1, f"it gave up when the time had passed: {last}")


def test_a_deadline_ends_a_pass_that_is_under_way(t):
    src, dst = t.pair(**BUSY)
    t.fill(src, length=16 << 20)
    src.set(max_bandwidth=512 << 10, downtime_limit=1)
    begin(t, src, dst, deadline=1500, strategy="auto")
    t.assert_failed(src, "deadline of 1500 ms", "postcopy-ram")
    t.check(decisions(src)[-1]["pass"] == 1, f"in the first pass, which takes half a minute: {decisions(src)}")
    t.assert_untouched(src)


def test_who_converges_makes_its_deadline(t):
    src, dst = t.pair(payload="writer", memory="64M", working_set="1M")
    begin(t, src, dst, deadline=600_000, strategy="auto")
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"it completes: {info}")
    t.check([d["decision"] for d in info["decisions"]] == ["switchover"], f"it decided {info['decisions']}")
    t.check("fits the downtime-limit" in info["decisions"][0]["reason"], f"because {info['decisions']}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst)


def test_auto_throttles_until_it_converges(t):
    """The second high period of auto-converge would come, too: which of the two is first is not said."""
    src, dst = t.pair(**BUSY)
    capabilities(src, "auto-converge")
    src.set(max_bandwidth=16 << 20, downtime_limit=1, cpu_throttle_initial=50, cpu_throttle_increment=49)
    begin(t, src, dst, strategy="auto")
    first = wait_decision(src, "throttle")
    t.check("throttled by 50%" in first["reason"], f"the first step is the initial one: {first}")
    src.set(max_bandwidth=0, downtime_limit=30000)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"it completes: {info}")
    t.check(info["decisions"][-1]["decision"] == "switchover", f"it decided {info['decisions']}")
    t.check(info["decisions"] == events_of(src), f"events say the same: {events_of(src)}")
    t.assert_only_runs(dst, src)


def test_the_next_daemon_knows(t):
    src, dst = t.pair(**BUSY)
    capabilities(src, "auto-converge")
    src.set(max_bandwidth=16 << 20, downtime_limit=1, cpu_throttle_initial=50, max_cpu_throttle=50)
    begin(t, src, dst, strategy="auto", deadline=3_600_000)
    wait_decision(src, "throttle")
    before = decisions(src)
    src.daemon.kill(signal.SIGKILL)
    src.daemon.drop_session()
    src.daemon = t.daemon(src.daemon.name)
    src.wait_attached()
    wait_until(lambda: decisions(src), "its worker told the new daemon", 60, alive=[src])
    t.check(decisions(src)[:len(before)] == before, f"before {before}, now {decisions(src)}")
    src.set(max_bandwidth=0, downtime_limit=30000)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"it completes: {info}")
    t.check(info["decisions"][-1]["decision"] == "switchover", f"it decided {info['decisions']}")
    t.assert_only_runs(dst, src)


def test_what_makes_no_sense_is_refused(t):
    src, dst = t.pair(**BUSY)
    uri = t.listen(dst)
    t.assert_refused(src, "migrate", {"uri": uri, "strategy": "postcopy"}, "strategy", "postcopy-ram")
    t.assert_refused(src, "migrate", {"uri": uri, "strategy": "best"}, "best")
    t.check(src.migration() == {}, f"nothing was started: {src.migration()}")


migdtest.main()
