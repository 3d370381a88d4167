#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""What a daemon says to its service manager: readiness, reloads, status, its end; and the watchdog, fed by a loop that turns."""

import os
import signal
import sys
import time

import migdtest
from migd_process import SOURCE_DIR, wait_until
from migd_supervisor import Supervisor

sys.path.insert(0, os.path.join(SOURCE_DIR, "tests/daemon"))
import attach_peer  # noqa: E402


def test_ready_reload_stop(t):
    s = Supervisor(t, "a")
    daemon = s.start()
    t.check("READY" in s.messages[-1] and s.messages[-1]["STATUS"].startswith("0 guests"), f"{s.messages}")
    t.check(daemon.qmp.command("query-guests") == [], "it is ready")
    first = len(s.messages)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: s.said("READY", first), "the reload ends")
    reload = s.messages[first]
    t.check(reload["RELOADING"] == "1" and abs(time.monotonic() * 1e6 - int(reload["MONOTONIC_USEC"])) < 60e6, f"{reload}")
    t.check(not s.said("WATCHDOG"), "nobody asked for that")
    daemon.drop_session()
    t.check(daemon.kill(signal.SIGTERM) == 0 and s.said("STOPPING", first), "it says that it ends")


def test_status(t):
    s = Supervisor(t, "a")
    daemon = s.start()
    peer = attach_peer.attached(daemon)
    wait_until(lambda: s.said("STATUS")[-1] == "1 guests; migrations: 0 outgoing, 0 incoming, 0 in doubt", "the guest is counted")
    peer.close()
    wait_until(lambda: s.said("STATUS")[-1].startswith("0 guests"), "and not any more")


def test_watchdog(t):
    s = Supervisor(t, "a", watchdog_usec=400000)
    daemon = s.start()
    wait_until(lambda: len(s.said("WATCHDOG")) >= 3, "it is fed")
    daemon.signal(signal.SIGSTOP)
    time.sleep(0.1)
    fed = len(s.said("WATCHDOG"))
    time.sleep(1.2)
    t.check(len(s.said("WATCHDOG")) == fed, "a daemon that hangs does not feed it")
    daemon.signal(signal.SIGCONT)
    wait_until(lambda: len(s.said("WATCHDOG")) > fed, "one that goes on does")


def ticks(pid):
    """Processor time, and how often it was woken."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    with open(f"/proc/{pid}/status") as f:
        switches = sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)
    return int(fields[11]) + int(fields[12]), switches


def test_idle_costs_nothing(t):
    daemon = Supervisor(t, "a").start()
    _peer = attach_peer.attached(daemon)
    t.check(daemon.guest("fake")["attached"], "a guest is there")

    def rests():
        before = ticks(daemon.pid)
        time.sleep(1)
        return ticks(daemon.pid) == before
    wait_until(rests, "everything is said and done")
    before = ticks(daemon.pid)
    time.sleep(3)
    t.check(ticks(daemon.pid) == before, f"an idle daemon sleeps: {before} {ticks(daemon.pid)}")


if __name__ == "__main__":
    migdtest.main(kvm=False)
