#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Post-copy that is paused, and goes on over another connection; and recoveries that fail first."""

import json
import socket

import migd_tls
import scenario_fd
from migd_scenario import main, scenario

FD_URI = "fd:" + scenario_fd.NAME


def begin(s, preempt=False, multifd=False, tls=False):
    """Post-copy, so slow that it does not end, and paused by the source's operator."""
    s.start()
    names = ["postcopy-ram", "postcopy-blocktime"] + ["postcopy-preempt"] * preempt + ["multifd"] * multifd
    for side in s.src, s.dst:
        s.capabilities(side, *names)
        if multifd:
            s.set(side, multifd_channels=4)
    if tls:
        migd_tls.psk(s, s.src, s.dst)
    s.set(s.src, max_postcopy_bandwidth=4096)
    s.switch()
    s.wait_status(s.src, "postcopy-active")
    s.wait_status(s.dst, "postcopy-active")
    s.src.command("migrate-pause")
    paused(s)
    text = s.src.migration()["error-desc"]
    s.check("paused by migrate-pause" in text, f"{text!r} says who paused")


def paused(s):
    for side in s.src, s.dst:
        s.wait_status(side, "postcopy-paused")


def exec_oob(s, side, name, arguments):
    """A command that overtakes others, with a string as its id."""
    with side.daemon.connect(negotiate=False) as qmp:
        qmp.command("qmp_capabilities", {"enable": ["oob"]})
        qmp.send(json.dumps({"exec-oob": name, "id": "recover-cmd", "arguments": arguments}).encode())
        while True:
            answer = qmp.receive()
            if "event" not in answer:
                break
    s.check(answer == {"return": {}, "id": "recover-cmd"}, f"{name}: {answer}")


def recover(s):
    """At another address; then at full speed to the end."""
    uri = s.unix_uri("recovery")
    exec_oob(s, s.dst, "migrate-recover", {"uri": uri, "guest": s.dst.name})
    s.src.command("migrate", {"uri": uri, "resume": True})
    for side in s.src, s.dst:
        s.wait_status(side, "postcopy-active")
    s.set(s.src, max_postcopy_bandwidth=0)
    s.wait_status(s.src, "completed")
    s.wait_status(s.dst, "completed")
    s.check_postcopy(recoveries=1)
    s.check_arrived()


@scenario("postcopy/recovery/plain")
@scenario("postcopy/preempt/recovery/plain", preempt=True)
@scenario("postcopy/recovery/tls/psk", tls=True)
@scenario("postcopy/preempt/recovery/tls/psk", tls=True, preempt=True)
@scenario("multifd+postcopy/recovery/tls/psk", multifd=True, tls=True)
@scenario("multifd+postcopy/preempt/recovery/tls/psk", multifd=True, tls=True, preempt=True)
def recovery(s, **options):
    begin(s, **options)
    recover(s)
    s.check(s.states(s.src)[-5:] == ["postcopy-paused", "postcopy-recover-setup", "postcopy-recover", "postcopy-active",
                                     "completed"], f"the source's states: {s.states(s.src)}")
    s.check(s.states(s.dst)[-4:] == ["postcopy-paused", "postcopy-recover", "postcopy-active", "completed"],
            f"the destination's states: {s.states(s.dst)}")


@scenario("postcopy/recovery/double-failures/handshake")
@scenario("postcopy/recovery/double-failures/reconnect", closed=True)
def double_failures(s, closed=False):
    """Both sides get connections on which nobody answers; the source's is closed first, or not."""
    begin(s)
    ends = []
    for side in s.src, s.dst:
        ours, theirs = socket.socketpair()
        ends.append(ours)
        scenario_fd.pass_fd(side.daemon, theirs.detach())
    ends[1].send(b"\x08")
    s.forget_events(s.src)
    if closed:
        ends[0].close()
    s.dst.command("migrate-recover", {"uri": FD_URI})
    s.src.command("migrate", {"uri": FD_URI, "resume": True})
    s.wait_seen(s.src, "MIGRATION", status="postcopy-recover-setup")
    if closed:
        s.wait_seen(s.src, "MIGRATION", status="postcopy-paused")
    else:
        s.wait_seen(s.src, "MIGRATION", status="postcopy-recover")
        s.src.command("migrate-pause")
    s.wait_status(s.src, "postcopy-paused")
    s.wait_seen(s.dst, "MIGRATION", status="postcopy-recover")
    s.dst.command("migrate-pause")
    paused(s)
    scenario_fd.check_consumed(s)
    recover(s)
    for end in ends:
        end.close()


main()
