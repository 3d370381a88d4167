#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""yank shuts a migration's connections down: it fails, or pauses in post-copy. What is not there is said, and nothing done."""

import socket
import time

import migdtest
from migd_postcopy import enter_postcopy, finish, prepare, wait_status

MIGRATION = {"type": "migration"}
DISK = {"type": "block-node", "node-name": "disk0"}
CONSOLE = {"type": "chardev", "id": "serial0"}


def yank(vmm, *instances):
    vmm.command("yank", {"instances": list(instances)})


def assert_not_there(t, vmm, *instances):
    try:
        yank(vmm, *instances)
    except migdtest.QmpError as e:
        t.check(e.cls == "DeviceNotFound" and "query-yank" in e.desc, f"{instances}: {e}")
    else:
        raise AssertionError(f"{instances}: accepted")


def test_what_is_not_there(t):
    src, dst = t.pair(working_set="16M")
    t.check(src.command("query-yank") == [], "nothing runs")
    for instance in (MIGRATION, DISK, CONSOLE):
        assert_not_there(t, src, instance)
    yank(src)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    # All of it, or nothing.
    for other in (DISK, CONSOLE):
        assert_not_there(t, src, MIGRATION, other)
    time.sleep(0.2)
    t.check(src.migration()["status"] == "active", f"it goes on: {src.migration()}")
    t.check([v.command("query-yank") for v in (src, dst)] == [[MIGRATION]] * 2, "both sides have a migration")


def test_source(t):
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    started = time.monotonic()
    src.daemon.qmp.send(b'{"execute": "yank", "arguments": {"instances": [{"type": "migration"}], "guest": "g"}}\n')
    t.check(src.daemon.qmp.receive() == {"return": {}}, "the answer")
    t.assert_failed(src, "yank")
    print(f"failed after {time.monotonic() - started:.3f} s")
    t.assert_untouched(src)
    t.assert_failed(dst)
    t.assert_stopped(dst)
    assert_not_there(t, src, MIGRATION)
    # It was a migration like others.
    again = t.incoming(dst.daemon, t.options)
    t.speed_up(src)
    t.migrate(src, again)
    t.assert_only_runs(again, src)


def test_destination(t):
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    t.listen(dst)
    # Nobody is connected: nothing is shut down.
    yank(dst, MIGRATION)
    t.check(dst.migration()["status"] == "setup", f"it waits: {dst.migration()}")
    address = dst.migration()["socket-address"][0]
    src.command("migrate", {"uri": f"tcp:{address['host']}:{address['port']}"})
    t.wait_active(src)
    yank(dst, MIGRATION, MIGRATION)
    t.assert_failed(dst, "yank")
    t.assert_failed(src)
    t.assert_only_runs(src, dst)


def test_dead_peer_out_of_band(t):
    """What yank is for: a peer that accepts and never answers; the monitor's queue is not waited for."""
    src, _ = t.pair()
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent, src.daemon.connect(negotiate=False) as qmp:
        qmp.command("qmp_capabilities", {"enable": ["oob"]})
        src.command("migrate", {"uri": f"tcp:127.0.0.1:{silent.getsockname()[1]}"})
        time.sleep(0.1)
        qmp.send(b'{"exec-oob": "query-yank", "id": 1} {"exec-oob": "yank", "id": 2, "arguments": '
                 b'{"instances": [{"type": "migration"}]}}')
        t.check(qmp.receive() == {"return": [MIGRATION], "id": 1}, "query-yank")
        t.check(qmp.receive() == {"return": {}, "id": 2}, "yank")
        t.assert_failed(src, "yank")
        t.assert_untouched(src)


def test_postcopy_pauses_and_goes_on(t):
    src, dst, _, uri = prepare(t)
    enter_postcopy(t, src, dst, uri)
    yank(src, MIGRATION)
    wait_status(t, src, "postcopy-paused")
    wait_status(t, dst, "postcopy-paused")
    t.assert_only_runs(dst, src)
    # Once more there is no connection to be shut down.
    yank(src, MIGRATION)
    dst.command("migrate-recover", {"uri": "tcp:127.0.0.1:0"})
    address = dst.migration()["socket-address"][0]
    src.command("migrate", {"uri": f"tcp:127.0.0.1:{address['port']}", "resume": True})
    wait_status(t, src, "postcopy-active")
    finish(t, src, dst)


migdtest.main()
