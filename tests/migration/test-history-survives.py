#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""The history is true whoever was killed, and whoever was restarted, while it was made."""

import contextlib
import os
import signal
import socket

import migdtest
import migd_record
from migd_process import wait_until
from migd_record import events, history, record_of, statuses


def succeed(t, vmm, sig=signal.SIGKILL):
    """Another daemon in place of this guest's."""
    vmm.daemon.kill(sig)
    vmm.daemon.drop_session()
    daemon = t.daemon(vmm.daemon.name)
    vmm.daemon = daemon
    return daemon


@contextlib.contextmanager
def full_port():
    """A port at which connecting takes for ever: nobody takes those who came before."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


def restarted(t, which, sig):
    src, dst = t.pair(working_set="8M")
    t.fill(src)
    t.make_slow(src, 4 << 20)
    t.start(src, dst)
    t.wait_active(src, sent_bytes=2 << 20)
    vmm = src if which == "source" else dst
    before = record_of(vmm)
    succeed(t, vmm, sig)
    vmm.wait_attached()
    now = record_of(vmm)
    t.check(now["id"] == before["id"] and now["started"] == before["started"], f"the same one: {now} {before}")
    t.check(now["samples"][:3] == before["samples"][:3] if sig == signal.SIGTERM else True, f"{now['samples']}")
    t.speed_up(src)
    info = t.wait_end(src)
    t.check(info["status"] == "completed" and t.wait_end(dst)["status"] == "completed", f"{info}")
    r = record_of(vmm)
    t.check(statuses(r) == (["setup", "active", "device", "completed"] if vmm is src else ["setup", "active", "completed"]),
            f"{r['phases']}")
    taken, = events(r, "daemon")
    t.check("took over" in taken and "no record" not in taken, f"{r['events']}")
    t.check(len(history(vmm.daemon)) == 1, f"{history(vmm.daemon)}")
    if vmm is src:
        migd_record.check_against(r, info)


def test_daemon_of_the_source_killed(t):
    restarted(t, "source", signal.SIGKILL)


def test_daemon_of_the_source_restarted(t):
    restarted(t, "source", signal.SIGTERM)


def test_daemon_of_the_destination_killed(t):
    restarted(t, "destination", signal.SIGKILL)


def test_an_outcome_that_came_while_no_daemon_ran(t):
    src, dst = t.pair(working_set="1M")
    t.fill(src)
    src.set(max_bandwidth=8 << 20, downtime_limit=2000)
    t.start(src, dst)
    t.wait_active(src)
    src.daemon.kill(signal.SIGKILL)
    src.daemon.drop_session()
    t.check(t.wait_end(dst)["status"] == "completed", "it completed without the source's daemon")
    daemon = t.daemon(src.daemon.name)
    src.daemon = daemon
    wait_until(lambda: [e["status"] for e in history(daemon)] == ["completed"], "the next one records it")
    r = record_of(src)
    t.check(r["downtime"] > 0 and r["transferred"] == r["ram"]["transferred"] > 0, f"{r}")
    t.check([p["pass"] for p in r["passes"]] == list(range(1, r["ram"]["dirty-sync-count"] + 1)), f"{r['passes']}")
    t.check("switchover" in " ".join(events(r, "decision")), f"{r['events']}")


def test_without_its_record(t):
    """Lost, or of a former migd that kept none: what can be known is recorded."""
    src, dst = t.pair(working_set="8M")
    t.make_slow(src, 4 << 20)
    t.start(src, dst)
    t.wait_active(src)
    began = record_of(src)["started"]
    src.daemon.kill(signal.SIGKILL)
    src.daemon.drop_session()
    for name in os.listdir(os.path.join(src.daemon.state_dir, "records")):
        os.unlink(os.path.join(src.daemon.state_dir, "records", name))
    src.daemon = t.daemon(src.daemon.name)
    src.wait_attached()
    wait_until(lambda: src.status() == "active", "it goes on")
    t.speed_up(src)
    t.check(t.wait_end(src)["status"] == "completed", "to its end")
    t.check("history of migrations" not in src.daemon.log_text(), "its record was kept from the first moment on")
    r = src.daemon.qmp.command("query-migration-record", {"guest": "g"})
    t.check(abs(r["started"] - began) < 1_000_000, f"it began at {began}, not {r['started']}")
    t.check("there is no record" in events(r, "daemon")[0] and r["parameters"]["max-bandwidth"] == 4 << 20, f"{r}")
    t.check(r["status"] == "completed" and r["ram"]["transferred"] == r["transferred"] > 0, f"{r}")


def test_killed_before_it_began(t):
    """There is no journal of a migration whose connection is only being made: nobody goes on with it."""
    src, _dst = t.pair()
    port = t.cleanup.enter_context(full_port())
    src.command("migrate", {"uri": f"tcp:127.0.0.1:{port}"})
    t.check(src.status() == "setup", f"it connects: {src.migration()}")
    ident = src.migration()["id"]
    succeed(t, src)
    entry, = history(src.daemon)
    t.check((entry["id"], entry["status"]) == (ident, "failed"), f"{entry}")
    t.check("migd ended" in entry["error-desc"], f"{entry}")
    t.assert_runs(src)


def test_worker_killed(t):
    src, dst = t.pair(working_set="8M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    os.kill(src.daemon.workers()[0], signal.SIGKILL)
    text = t.assert_failed(src, "worker")
    r = record_of(src)
    t.check(r["error-desc"] == text and "signal 9" in events(r, "worker")[0], f"{r}")
    t.check(r["transferred"] > 0 and r["passes"], f"what it did before is known: {r}")


def test_vmm_killed(t):
    src, dst = t.pair(working_set="8M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    ident = src.migration()["id"]
    src.kill()
    wait_until(lambda: history(t.a)[0]["status"] == "failed", "its end is recorded")
    wait_until(lambda: not t.a.workers(), "its worker said its last numbers")
    r = record_of(src, id=ident)
    t.check(r["guest"] == "g" and r["transferred"] > 0 and "attach" in r["error-desc"], f"{r}")
    succeed(t, src)
    now = record_of(src)
    t.check(now == r, f"the next daemon says the same, and not something else of {[k for k in r if now.get(k) != r[k]]}")


migdtest.main()
