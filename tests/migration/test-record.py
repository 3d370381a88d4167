#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""The record of a migration says what happened: of each kind, and of each end."""

import os
import time

import migdtest
import migd_record
from migd_process import wait_until
from migd_record import events, history, record_of, statuses


def test_completed(t):
    src, dst = t.pair(memory="128M", working_set="8M")
    t.fill(src, 64 << 20, 32 << 20)
    src.set_capabilities(auto_converge=True)
    src.set(max_bandwidth=48 << 20)
    t.start(src, dst)
    t.wait_active(src)
    running, = history(t.a)
    t.check(running["status"] == "active" and running["id"] == src.migration()["id"], f"it is listed: {running}")
    time.sleep(0.3)
    now = record_of(src)
    t.check(now["passes"] and now["passes"][0]["bytes"] > 0, f"the first pass is under way: {now['passes']}")
    src.set(max_bandwidth=0)
    info = t.wait_end(src)
    t.check(t.wait_end(dst)["status"] == "completed", "it arrived")
    r = record_of(src)
    migd_record.check_against(r, info)
    t.check((r["id"], r["guest"], r["direction"], r["status"]) == (info["id"], "g", "outgoing", "completed"), f"{r}")
    t.check(statuses(r) == ["setup", "active", "device", "completed"], f"{r['phases']}")
    t.check(abs(r["duration"] / 1000 - info["total-time"]) < 100, f"it took {info['total-time']} ms, not {r['duration']} us")
    t.check(r["capabilities"] == ["auto-converge"] and r["parameters"]["max-bandwidth"] == 48 << 20, f"{r}")
    t.check(r["memory"] == 128 << 20 and r["vcpus"] == 1 and not r["tls"] and r["peer"].startswith("127.0.0.1:"), f"{r}")
    t.check(events(r, "command") == ['migrate-set-parameters {"max-bandwidth":0}'], f"{r['events']}")
    t.check(events(r, "handover") == ["precopy", "paused", "released", "retired"], f"{r['events']}")
    t.check(any(d.startswith("switchover: ") for d in events(r, "decision")), f"{r['events']}")
    t.check(len(r["samples"]) >= 4 and r["samples"][-1]["transferred"] == info["ram"]["transferred"], f"{r['samples']}")
    t.check(abs(time.time() - (r["started"] + r["duration"]) / 1e6) < 60, "by the host's clock")
    t.check(r["blackout"]["hold"] == 0, f"nobody held it: {r['blackout']}")
    check_arrival(t, r, record_of(dst))


def check_arrival(t, source, r):
    t.check((r["direction"], r["status"]) == ("incoming", "completed"), f"{r}")
    t.check(events(r, "handover") == ["incoming", "loaded", "running"], f"{r['events']}")
    t.check(abs(r["transferred"] - source["transferred"]) < 256, f"{r['transferred']} of {source['transferred']} came")
    t.check(r["peer"].startswith("127.0.0.1:"), f"{r['peer']}")
    there, here = r["blackout"], source["blackout"]
    t.check((there["load"], there["resume"]) == (here["load"], here["resume"]), f"{there} and {here}")
    t.check(there["total"] <= here["total"] and "downtime" not in r, f"it knows a part of it: {there} of {here}")
    t.check(r["samples"] and not r["passes"] and "ram" not in r, f"{r}")


def test_the_blackout_is_what_the_guest_saw(t):
    """The guest's heartbeat stands still for as long as the record says, or a little longer: it is looked at from outside."""
    src, dst = t.pair(working_set="4M")
    src.set_capabilities(pause_before_switchover=True)
    t.start(src, dst)
    wait_until(lambda: src.status() == "pre-switchover", "it waits")
    stopped = time.monotonic()
    time.sleep(0.5)
    begun = time.monotonic()
    beat = dst.mem.heartbeat
    src.command("migrate-continue", {"state": "pre-switchover"})
    t.check(t.wait_end(src)["status"] == "completed", "it is over there")
    wait_until(lambda: dst.mem.heartbeat != beat, "it runs")
    ran = time.monotonic()
    r = record_of(src)
    b = r["blackout"]
    t.check(b["hold"] >= (begun - stopped) * 1e6 - 1000, f"it was held for {begun - stopped} s: {b}")
    t.check(b["total"] <= (ran - stopped) * 1e6 + 1e6, f"the guest stood still for some {ran - stopped} s: {b}")
    t.check(statuses(r) == ["setup", "active", "pre-switchover", "device", "completed"], f"{r['phases']}")
    t.check(events(r, "command") == ["migrate-continue"], f"{r['events']}")
    t.check(not r["stalls"], f"waiting for an operator is no stall: {r['stalls']}")


def test_cancelled(t):
    src, dst = t.pair(working_set="8M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    src.command("migrate_cancel")
    t.check(t.wait_end(src)["status"] == "cancelled", "it is")
    r = record_of(src)
    t.check(statuses(r) == ["setup", "active", "cancelling", "cancelled"], f"{r['phases']}")
    t.check(events(r, "command") == ["migrate_cancel"] and "migrate_cancel" in r["error-desc"], f"{r}")
    t.check("blackout" not in r and "downtime" not in r and not r["stalls"], f"{r}")
    t.check(r["passes"] and r["transferred"] > 0, f"{r}")
    t.assert_failed(dst)
    t.check(record_of(dst)["status"] == "failed", "the other side's")


def test_nobody_there_and_preflight_only(t):
    src, dst = t.pair()
    src.command("migrate", {"uri": "tcp:127.0.0.1:1"})
    t.assert_failed(src)
    r = record_of(src)
    t.check(statuses(r) == ["setup", "failed"] and not r["passes"] and "peer" not in r, f"{r}")
    src.command("migrate", {"uri": t.listen(dst), "preflight": "only"})
    wait_until(lambda: "preflight" in src.migration(), "it was compared")
    t.check(len(history(t.a)) == 1, f"a comparison is no migration: {history(t.a)}")


def test_files(t):
    src, dst = t.pair(working_set="4M")
    path = os.path.join(t.dir, "saved")
    src.command("migrate", {"uri": f"file:{path}"})
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"{info}")
    r = record_of(src)
    migd_record.check_against(r, info)
    t.check(r["peer"] == f"file:{path}" == r["uri"], f"{r['peer']}")
    t.check(r["transferred"] == os.path.getsize(path), f"{r['transferred']} bytes are in it")
    dst.command("migrate-incoming", {"uri": f"file:{path}"})
    t.check(t.wait_end(dst)["status"] == "completed", "it is loaded")
    there = record_of(dst)
    t.check(there["peer"] == f"file:{path}" and there["transferred"] >= r["transferred"] - 65536, f"{there}")


def test_queue(t):
    a, b = t.daemon("a"), t.daemon("b")
    options = {"working_set": "1M"}
    first, second = (t.vmm(a, name=n, **options) for n in ("g1", "g2"))
    targets = [t.incoming(b, options, name=n) for n in ("g1", "g2")]
    a.qmp.command("host-set-parameters", {"max-outgoing": 1})
    for src, dst in zip((first, second), targets):
        t.assert_runs(src)
        t.make_slow(src)
        src.command("migrate", {"uri": t.listen(dst)})
    begun = time.monotonic()
    second.command("migrate-set-priority", {"priority": 3})
    t.wait_active(first)
    time.sleep(0.5)
    waited = time.monotonic() - begun
    now = record_of(second)
    t.check(now["status"] == "setup" and now["queued"] >= waited * 1e6 - 50_000, f"it waits for {waited} s: {now}")
    for src in first, second:
        t.speed_up(src)
    for src in first, second:
        t.check(t.wait_end(src)["status"] == "completed", "both arrive")
    r = record_of(second)
    t.check(waited * 1e6 - 50_000 <= r["queued"] <= r["duration"], f"{r['queued']} us of {r['duration']}")
    t.check(r["priority"] == 3 and events(r, "command")[0] == "migrate-set-priority 3", f"{r['events']}")
    t.check(record_of(first)["queued"] == 0, "the first had its turn at once")
    t.check([e["guest"] for e in history(a)] == ["g2", "g1"], "the one that began last comes first")
    t.check([e["guest"] for e in history(a, guest="g1", status="completed")] == ["g1"] and
            history(a, status="failed") == [] and len(history(a, limit=1)) == 1, "filters")


migdtest.main()
