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
