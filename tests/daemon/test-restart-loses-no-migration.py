#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""A daemon that is told to end leaves guests and migrations alone; the next one goes on with them, settings included."""

import json
import os
import signal

import migdtest
from migd_process import wait_until


def restart(t, daemon):
    t.check(daemon.kill(signal.SIGTERM) == 0, f"{daemon.name}: the exit status")
    t.check("Sanitizer" not in daemon.log_text(), f"{daemon.name} leaks")
    return t.daemon(daemon.name)


def test_while_it_runs(t):
    src, dst = t.pair(working_set="16M")
    src.command("migrate-set-parameters", {"downtime-limit": 123})
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    src.daemon, dst.daemon = restart(t, src.daemon), restart(t, dst.daemon)
    for vmm in src, dst:
        wait_until(lambda v=vmm: "took over" in v.daemon.log_text(), "the worker is found")
        wait_until(lambda v=vmm: (v.daemon.guest("g") or {}).get("attached"), "the VMM attaches again")
        t.check(vmm.status() == "active", f"it goes on: {vmm.migration()}")
    t.check(src.command("query-migrate-parameters")["downtime-limit"] == 123, "its settings are known")
    t.check(src.migration()["ram"]["transferred"] > 0, "its numbers are known")
    t.speed_up(src)
    wait_until(lambda: src.status() == "completed" and dst.status() == "completed", "it completes")
    t.assert_only_runs(dst, src)
    for vmm in src, dst:
        path = os.path.join(vmm.daemon.state_dir, "migrations")
        wait_until(lambda p=path: os.listdir(p) == [], "nothing is left to take over")
        t.check(os.listdir(os.path.join(vmm.daemon.state_dir, "workers")) == [], "no socket is left")


def test_then_cancelled(t):
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    src.daemon = restart(t, src.daemon)
    wait_until(lambda: src.daemon.guest("g") and src.status() == "active", "it is taken over")
    src.command("migrate_cancel")
    wait_until(lambda: src.status() == "cancelled", "it is cancelled")
    t.assert_runs(src)


def test_settings_without_a_migration(t):
    daemon = t.daemon("a")
    one, two = t.vmm(daemon, "one"), t.vmm(daemon, "a/b.. \"two\"", label="vmm-two")
    capabilities = [{"capability": "events", "state": True}, {"capability": "return-path", "state": True}]
    for vmm, limit in (one, 111), (two, 222):
        vmm.set(downtime_limit=limit, tls_hostname=None, announce_rounds=3)
        vmm.command("migrate-set-capabilities", {"capabilities": capabilities})
    kept = {v: (v.command("query-migrate-parameters"), v.command("query-migrate-capabilities")) for v in (one, two)}
    daemon = restart(t, daemon)
    for vmm in one, two:
        vmm.daemon = daemon
        vmm.wait_attached()
        now = vmm.command("query-migrate-parameters"), vmm.command("query-migrate-capabilities")
        t.check(now == kept[vmm], f"{vmm.label}: {now}, not {kept[vmm]}")
    # Another VMM of that name has its own, and what a VMM leaves behind is removed.
    path = os.path.join(daemon.state_dir, "settings")
    t.check(len(os.listdir(path)) == 2, f"{os.listdir(path)}")
    one.kill()
    wait_until(lambda: not (daemon.guest("one") or {}).get("attached"), "the daemon sees that it is gone")
    again = t.vmm(daemon, "one")
    t.check(again.command("query-migrate-parameters")["downtime-limit"] == 300, "it inherited its namesake's settings")
    t.check(len(os.listdir(path)) == 1, f"{os.listdir(path)}")
    daemon.kill(signal.SIGTERM)
    two.kill()
    # A damaged file is no reason not to start.
    with open(os.path.join(path, "6f6e65"), "w") as f:
        f.write("{ this is no JSON")
    daemon = t.daemon("a")
    again.daemon = daemon
    again.wait_attached()
    t.check(os.listdir(path) == ["6f6e65"], f"{os.listdir(path)}")
    t.check(again.command("query-migrate-parameters")["downtime-limit"] == 300, "the defaults")


def test_set_while_it_runs(t):
    """The worker was started with other settings than those that count when the daemon is replaced."""
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    src.set(downtime_limit=321)
    src.daemon = restart(t, src.daemon)
    wait_until(lambda: src.daemon.guest("g") and src.status() == "active", "it is taken over")
    src.wait_attached()
    t.check(src.command("query-migrate-parameters")["downtime-limit"] == 321, "what was set last counts")


def test_worker_dies_meanwhile(t):
    """Nobody saw the worker die: the library's word is what counts."""
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    state = src.daemon.state_dir
    name = os.listdir(os.path.join(state, "migrations"))[0]
    with open(os.path.join(state, "migrations", name)) as f:
        worker = json.load(f)["worker-pid"]
    src.daemon.kill(signal.SIGTERM)
    os.kill(worker, signal.SIGKILL)
    src.daemon = t.daemon("a")
    wait_until(lambda: src.daemon.guest("g") and src.status() == "failed", "it failed")
    t.check("worker" in src.migration()["error-desc"], f"{src.migration()}")
    t.assert_runs(src)
    t.check(os.listdir(os.path.join(state, "migrations")) == [], "nothing is left to take over")


migdtest.main()
