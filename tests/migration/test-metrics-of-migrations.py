#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""What metrics say while guests move: each migration's own while it runs, and counts of those that ended."""

import os
import signal

import migd_openmetrics as om
import migdtest
from migdtest import wait_until

NAME = "db-7"


def host(t, name):
    """A daemon that serves metrics, and where."""
    path = os.path.join(t.dir, name + ".conf")
    with open(path, "w", encoding="utf-8") as f:
        f.write("[metrics]\nlisten = tcp:127.0.0.1:0\n")
    d = t.daemon(name, extra=("--config", path))
    d.conf = path
    return d, d.qmp.command("query-config")["metrics-address"]


def of(families, name, direction, suffix="", guest=NAME):
    return families[name].value(suffix, guest=guest, direction=direction)


def ended(families, direction, outcome):
    return families["migd_migrations_ended"].value("_total", direction=direction, outcome=outcome)


def test_while_it_moves(t):
    (a, at_a), (b, at_b) = host(t, "a"), host(t, "b")
    options = {"name": NAME}
    src = t.vmm(a, **options)
    dst = t.incoming(b, options)
    t.assert_runs(src)
    t.check(om.scrape(at_a)["migd_guests"].value(role="running") == 1, "a guest is here")
    t.check(om.scrape(at_b)["migd_guests"].value(role="incoming") == 1, "and one is expected there")
    t.fill(src)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    before = om.scrape(at_a)
    t.check(before["migd_migrations"].value(direction="outgoing", state="running") == 1, "it runs")
    t.check(before["migd_workers"].value() == 1, "by a worker")
    wait_until(lambda: of(om.scrape(at_a), "migd_migration_transferred_bytes", "outgoing", "_total")
               > of(before, "migd_migration_transferred_bytes", "outgoing", "_total"), "more is sent")
    now, there = om.scrape(at_a), om.scrape(at_b)
    om.check_monotonic(before, now)
    t.check(0 < of(now, "migd_migration_remaining_bytes", "outgoing") <= of(now, "migd_migration_memory_bytes", "outgoing"),
            "what remains is a part of all")
    t.check(of(now, "migd_migration_passes", "outgoing", "_total") >= 1 and of(now, "migd_migration_elapsed_seconds", "outgoing") > 0,
            "passes and time")
    info = src.migration()
    t.check(of(now, "migd_migration_transferred_bytes", "outgoing", "_total") <= info["ram"]["transferred"], "as query-migrate")
    wait_until(lambda: of(om.scrape(at_b), "migd_migration_transferred_bytes", "incoming", "_total") > 0, "it is received")
    t.check(there["migd_migrations"].value(direction="incoming", state="running") == 1, "there, too")
    t.check((NAME not in str(now["migd_migration_postcopy_fault_seconds"].samples)), "faults are the destination's")
    # The configuration is read again meanwhile, right and wrong: the migration goes on.
    with open(a.conf, "a", encoding="utf-8") as f:
        f.write("[host]\nmax-outgoing = 5\n")
    a.signal(signal.SIGHUP)
    wait_until(lambda: a.qmp.command("query-host-parameters")["max-outgoing"] == 5, "a right one is taken")
    with open(a.conf, "a", encoding="utf-8") as f:
        f.write("max-incoming = none\n")
    a.signal(signal.SIGHUP)
    wait_until(lambda: ":5: [host] max-incoming: 'none'" in a.log_text(), "a wrong one is refused")
    t.check(src.migration()["status"] == "active" and a.qmp.command("query-host-parameters")["max-incoming"] == 0, "nothing of it")
    t.speed_up(src)
    info = t.wait_end(src)
    t.check(info["status"] == "completed" and t.wait_end(dst)["status"] == "completed", f"{info}")
    t.assert_runs(dst)
    after, there = om.scrape(at_a), om.scrape(at_b)
    om.check_monotonic(now, after)
    t.check(ended(after, "outgoing", "completed") == 1 and ended(there, "incoming", "completed") == 1, "both count it")
    t.check(not after["migd_migration_transferred_bytes"].samples, "it has no samples any more")
    blackouts = after["migd_migration_blackouts_seconds"]
    t.check(blackouts.value("_count", direction="outgoing") == 1, "its blackout is counted")
    t.check(abs(blackouts.value("_sum", direction="outgoing") - sum(info["blackout"].values()) / 1e6) < 1e-6, f"{info['blackout']}")
    t.check(after["migd_worker_deaths"].value("_total") == 0, "nobody died")


def test_failures_and_deaths(t):
    (a, at_a), (b, _) = host(t, "a"), host(t, "b")
    src = t.vmm(a)
    dst = t.incoming(b, {})
    t.assert_runs(src)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    src.command("migrate_cancel")
    t.wait_end(src)
    wait_until(lambda: ended(om.scrape(at_a), "outgoing", "cancelled") == 1, "a cancelled one")
    src.command("migrate", {"uri": "tcp:127.0.0.1:1"})
    t.wait_end(src)
    t.check(ended(om.scrape(at_a), "outgoing", "failed") == 1, "a failed one")
    dst.wait_exit()
    dst = t.incoming(b, {})
    t.start(src, dst)
    t.wait_active(src)
    os.kill(src.worker(), signal.SIGKILL)
    wait_until(lambda: om.scrape(at_a)["migd_worker_deaths"].value("_total") == 1, "a death is counted")
    t.assert_runs(src)


migdtest.main()
