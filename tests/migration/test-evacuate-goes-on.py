#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""A host is emptied while guests come, over the end of its daemon, and from the command line."""

import signal
import subprocess

import migd_process
import migdtest
from migd_evacuate import OPTIONS, Source, host
from migd_process import wait_until



def test_later_ones(t):
    """Guests that come while it lasts go as well, if that is wanted; one evacuation at a time."""
    b = host(t, "b")
    a = Source(t, 2)
    t.make_slow(a.guests[0])
    t.fill(a.guests[0], 20 << 20, 4 << 20)
    a.evacuate(b, later=True)
    t.wait_active(a.guests[0])
    a.refused({"destinations": [{"uri": b.uri()}]}, "under way")
    a.guests.append(t.vmm(a.daemon, name="g9", **OPTIONS))
    t.assert_runs(a.guests[2], beats=1)
    wait_until(lambda: a.states().get("g9") == "completed", "the one that came later has gone")
    t.speed_up(a.guests[0])
    info = a.wait_end("completed")
    t.check(info["totals"]["total"] == 3, f"{info}")
    a.assert_everybody_runs_once(b)


def ctl(t, a, *words):
    return subprocess.run([migd_process.program("migctl"), "-s", a.daemon.qmp_path, *words], capture_output=True, text=True,
                          timeout=60 * migd_process.SLOW)


def test_ctl(t):
    b = host(t, "b")
    a = Source(t, 2)
    done = ctl(t, a, "evacuate", b.uri() + ",weight=2,max-guests=1", "guest=g0")
    t.check(done.returncode == 0 and "1 of 1 guests have gone" in done.stdout, f"{done}")
    done = ctl(t, a, "evacuate", b.uri() + ",max-guests=0")
    t.check(done.returncode == 5 and "1 of 1 guests stay" in done.stderr and "no destination has room" in done.stdout, f"{done}")
    t.check("incomplete" in ctl(t, a, "evacuation").stdout, "it can be asked for")
    t.check(ctl(t, a, "evacuate", b.uri() + ",weight=x").returncode == 2, "no number")
    t.check(ctl(t, a, "evacuate-cancel").returncode != 0, "there is nothing to cancel")
    a.assert_everybody_runs_once(b)


def test_daemon_killed(t):
    """The source's daemon dies in the middle: the next one goes on."""
    b, c = host(t, "b"), host(t, "c")
    a = Source(t, 6, max_outgoing=2)
    for guest in a.guests[:2]:
        t.fill(guest, 20 << 20, 8 << 20)
        t.make_slow(guest, 4 << 20)
    a.evacuate(b, c)
    t.wait_active(a.guests[0])
    a.restart()
    info = a.info()
    t.check(info["totals"]["total"] == 6 and info["totals"]["status"] == "running", f"{info}")
    info = a.wait_end("completed")
    a.assert_everybody_runs_once(b, c)
    # Its outcome is there for the one after, too.
    a.daemon.kill(signal.SIGTERM)
    a.daemon.drop_session()
    a.daemon = t.daemon("a")
    t.check(a.info() == info, f"{a.info()} instead of {info}")


migdtest.main()
