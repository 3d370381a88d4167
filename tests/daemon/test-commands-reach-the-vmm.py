#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""Commands become requests to the VMM; what it answers, refuses, or leaves unanswered becomes the reply."""

import os
import socket
import struct
import threading

import attach_peer
import migdtest
from attach_peer import attached
from migd_process import wait_until


def call(daemon, command, arguments=None):
    """Send a command on a session of its own; a function that gives its reply, or error text."""
    result = []

    def run():
        with daemon.connect() as qmp:
            try:
                result.append(qmp.command(command, arguments, timeout=30))
            except migdtest.QmpError as e:
                result.append(e.desc)
            result.append([e.name for e in qmp.events])

    thread = threading.Thread(target=run)
    thread.start()

    def finish():
        thread.join(40)
        return result
    return finish


def test_stop_and_cont(t):
    daemon = t.daemon("a")
    peer = attached(daemon)
    reply = call(daemon, "stop")
    request = peer.request(attach_peer.PAUSE)
    t.check(struct.unpack("<I", request.body)[0] > 0, "a pause without deadline")
    peer.event(attach_peer.STOPPED, attach_peer.RS_PAUSED)
    peer.reply(request)
    t.check(reply() == [{}, ["STOP"]], f"STOP comes before the reply: {reply()}")
    t.check(daemon.qmp.command("query-status") == {"running": False, "status": "paused"}, "the status")
    t.check(call(daemon, "stop")() == [{}, []], "a second stop does nothing")
    reply = call(daemon, "cont")
    request = peer.request(attach_peer.RESUME)
    peer.event(attach_peer.RESUMED, attach_peer.RS_RUNNING)
    peer.reply(request)
    t.check(reply() == [{}, ["RESUME"]], f"RESUME comes before the reply: {reply()}")
    t.check(call(daemon, "cont")() == [{}, []], "a second cont does nothing")


def test_refused(t):
    daemon = t.daemon("a")
    peer = attached(daemon)
    reply = call(daemon, "stop")
    peer.refuse(peer.request(attach_peer.PAUSE), attach_peer.BAD_STATE, "not now\n\x1b[31m")
    text = reply()[0]
    t.check("refused PAUSE: not now??[31m" in text and "'fake'" in text, text)


def test_vmm_vanishes(t):
    daemon = t.daemon("a")
    peer = attached(daemon)
    reply = call(daemon, "stop")
    peer.request(attach_peer.PAUSE)
    peer.close()
    t.check("is gone" in reply()[0], f"{reply()}")
    wait_until(lambda: daemon.guest("fake") is None, "the guest is forgotten")


def test_vmm_hangs(t):
    daemon = t.daemon("a")
    peer = attached(daemon)
    reply = call(daemon, "stop")
    request = peer.request(attach_peer.PAUSE)
    t.check(daemon.qmp.command("query-status")["running"], "other clients are served meanwhile")
    t.check("did not answer PAUSE in time" in reply()[0], f"{reply()}")
    peer.reply(request)  # too late, and nobody minds
    peer.event(attach_peer.WAKEUP)
    daemon.qmp.wait_event("WAKEUP")


def test_cont_is_refused_where_the_guest_cannot_run(t):
    daemon = t.daemon("a")
    peer = attached(daemon)
    for state, words in ((4, "has not been finalized"), (5, "migrated away"), (6, "Resetting the Virtual Machine is required"),
                         (7, "Resetting the Virtual Machine is required"), (9, "did not arrive")):
        peer.event(attach_peer.HANDOVER, state)
        wait_until(lambda s=words: s in str(call(daemon, "cont")()[0]), f"cont says '{words}'")
    peer.event(attach_peer.HANDOVER, 4, attach_peer.HS_RELEASED, b"\1" * 16)
    wait_until(lambda: "migrate-resolve" in str(call(daemon, "cont")()[0]), "cont names migrate-resolve")


def test_run_states(t):
    daemon = t.daemon("a")
    peer = attached(daemon)
    names = ("running", "paused", "inmigrate", "finish-migrate", "postmigrate", "shutdown", "guest-panicked", "suspended",
             "inmigrate")
    for number, name in enumerate(names, 1):
        peer.event(attach_peer.HANDOVER, number)
        wait_until(lambda n=name: daemon.qmp.command("query-status")["status"] == n, f"run state {number} is {name}")


def test_events_of_the_guest(t):
    daemon = t.daemon("a")
    peer = attached(daemon)
    daemon.qmp.skip_events()
    for kind, name, data in ((attach_peer.SHUTDOWN, "SHUTDOWN", {"guest": True, "reason": "guest-shutdown"}),
                             (attach_peer.RESET, "RESET", {"guest": True, "reason": "guest-reset"}),
                             (attach_peer.PANIC, "GUEST_PANICKED", {"action": "pause"}),
                             (attach_peer.SUSPEND, "SUSPEND", {}), (attach_peer.WAKEUP, "WAKEUP", {})):
        peer.event(kind)
        event = daemon.qmp.wait_event(name)
        t.check({k: event.data.get(k) for k in data} == data, f"{event}")


def test_migration_channel_refused(t):
    """The library does not want a migration: it fails with the library's reason, and nothing is left behind."""
    daemon = t.daemon("a")
    peer = attached(daemon)
    other = attached(daemon, "target", role=attach_peer.INCOMING)
    reply = call(daemon, "migrate-incoming", {"guest": "target", "uri": "tcp:127.0.0.1:0"})
    request = other.request(attach_peer.MIG_OPEN)
    t.check(len(request.fds) == 1, "MIG_OPEN comes with the migration channel")
    other.refuse(request, attach_peer.BAD_STATE, "no room")
    t.check("refused MIG_OPEN: no room" in str(reply()[0]), f"{reply()}")
    t.check(daemon.qmp.command("query-migrate", {"guest": "target"}) == {}, "it can be tried again")
    reply = call(daemon, "migrate-incoming", {"guest": "target", "uri": f"unix:{t.dir}/stream", "exit-on-error": False})
    other.reply(other.request(attach_peer.MIG_OPEN))
    t.check(reply()[0] == {}, f"the second try works: {reply()}")
    t.check("already been started" in str(call(daemon, "migrate-incoming", {"guest": "target", "uri": "tcp::0"})()[0]),
            "a third is refused")
    daemon.qmp.command("migrate", {"guest": "fake", "uri": f"unix:{t.dir}/stream"})
    peer.refuse(peer.request(attach_peer.MIG_OPEN), attach_peer.BAD_STATE, "not me")
    info = wait_until(lambda: (lambda i: i if i["status"] == "failed" else None)(
        daemon.qmp.command("query-migrate", {"guest": "fake"})), "the migration fails")
    t.check("refused MIG_OPEN: not me" in info["error-desc"], f"{info}")


def test_vmm_without_answer_fails_the_migration(t):
    """The worker finds a library that closes the migration channel: the migration fails, the guest stays."""
    daemon = t.daemon("a")
    peer = attached(daemon)
    target = attached(daemon, "target", role=attach_peer.INCOMING)
    reply = call(daemon, "migrate-incoming", {"guest": "target", "uri": f"unix:{t.dir}/stream", "exit-on-error": False})
    target.reply(target.request(attach_peer.MIG_OPEN))
    reply()
    daemon.qmp.command("migrate", {"guest": "fake", "uri": f"unix:{t.dir}/stream"})
    request = peer.request(attach_peer.MIG_OPEN)
    peer.reply(request)
    os.close(request.fds[0])
    info = wait_until(lambda: (lambda i: i if i["status"] == "failed" else None)(
        daemon.qmp.command("query-migrate", {"guest": "fake"})), "the migration fails")
    t.check(info["error-desc"], f"{info}")
    t.check(daemon.guest("fake")["attached"], "its guest is still there")


def test_garbage_on_the_channel_reaches_no_one_else(t):
    """A library that answers nonsense to its worker fails its migration only."""
    daemon = t.daemon("a")
    bystander = attached(daemon, "bystander")
    target = attached(daemon, "target", role=attach_peer.INCOMING)
    reply = call(daemon, "migrate-incoming", {"guest": "target", "uri": f"unix:{t.dir}/stream", "exit-on-error": False})
    request = target.request(attach_peer.MIG_OPEN)
    channel = socket.socket(fileno=request.fds[0])
    target.reply(request)
    reply()
    channel.send(b"nonsense")
    wait_until(lambda: daemon.qmp.command("query-migrate", {"guest": "target"}).get("status") == "failed",
               "the migration fails")
    bystander.event(attach_peer.WAKEUP)
    daemon.qmp.wait_event("WAKEUP", guest="bystander")


def test_failed_incoming_ends_the_vmm(t):
    """exit-on-error is true by default: the VMM is told to end, as QEMU would."""
    daemon = t.daemon("a")
    target = attached(daemon, "target", role=attach_peer.INCOMING)
    reply = call(daemon, "migrate-incoming", {"uri": f"unix:{t.dir}/stream"})
    request = target.request(attach_peer.MIG_OPEN)
    target.reply(request)
    t.check(reply()[0] == {}, f"{reply()}")
    os.close(request.fds[0])
    target.request(attach_peer.DISCARD)


def test_resolve(t):
    """In doubt without a worker: the operator's word goes to the library itself."""
    daemon = t.daemon("a")
    handover_id = bytes(range(16))
    peer = attached(daemon, run_state=4, handover=attach_peer.HS_RELEASED, handover_id=handover_id)
    t.check(daemon.guest("fake")["handover"] == {"id": handover_id.hex(), "state": "released", "peer": "", "in-doubt": True},
            f"{daemon.guest('fake')}")
    text = call(daemon, "migrate-resolve", {"outcome": "run", "fenced": False})()[0]
    t.check("fenced" in text and "killed" in text, text)
    t.check("is not finished" in str(call(daemon, "migrate", {"uri": "tcp:127.0.0.1:1"})()[0]), "no new migration")
    reply = call(daemon, "migrate-resolve", {"outcome": "run", "fenced": True})
    request = peer.request(attach_peer.RESOLVE)
    t.check(request.body == handover_id + b"\1", f"{request.body}")
    peer.event(attach_peer.HANDOVER, attach_peer.RS_RUNNING, attach_peer.HS_RUNNING, handover_id)
    peer.reply(request, struct.pack("<BQ", attach_peer.HS_RUNNING, 0))
    t.check(reply()[0] == {}, f"{reply()}")
    text = call(daemon, "migrate-resolve", {"outcome": "run", "fenced": True})()[0]
    t.check("not in doubt" in text, text)


def test_quit(t):
    daemon = t.daemon("a")
    peer = attached(daemon)
    t.check("1 guest is attached" in str(call(daemon, "quit")()[0]), "refused while a guest is attached")
    reply = call(daemon, "quit", {"guest": "fake"})
    peer.reply(peer.request(attach_peer.REQUEST_SHUTDOWN))
    t.check(reply()[0] == {}, "a guest's quit is its VMM's")
    peer.close()
    wait_until(lambda: daemon.guest("fake") is None, "the guest is forgotten")
    t.check(call(daemon, "quit")() == [{}, ["SHUTDOWN"]], "accepted without guests")
    t.check(daemon.wait_exit() == 0, "the daemon ends")


migdtest.main(kvm=False)
