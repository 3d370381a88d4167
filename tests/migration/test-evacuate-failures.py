#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""What goes wrong while a host is emptied: each guest runs at exactly one place, and the result names those that stay."""

import migdtest
from migd_evacuate import Source, by_name, host
from migd_process import SLOW

HANGS = 2 * SLOW  # seconds until a destination gives a hook up


def test_hooks_that_fail_and_hang(t):
    """One destination starts nothing, another one hangs for one guest: they go elsewhere, or stay after so many tries."""
    b = host(t, "b", before="exit 3")
    c = host(t, "c", before='if [ "$1" = g1 ] || [ "$1" = g2 ]; then sleep 1000; fi', timeout=HANGS)
    a = Source(t, 6, max_outgoing=3)
    a.evacuate(b, c)
    info = by_name(a.wait_end("incomplete"))
    for name in "g0", "g3", "g4", "g5":
        t.check(info[name]["state"] == "completed" and info[name]["destination"] == c.uri(), f"{info[name]}")
    for name in "g1", "g2":
        t.check(info[name]["state"] == "failed" and info[name]["tries"] == 2, f"{info[name]}")
    t.check(f"attached within {HANGS} s" in info["g1"]["error"] or "status 3" in info["g1"]["error"], f"{info['g1']}")
    t.check(any(g["tries"] == 2 and g["state"] == "completed" for g in info.values()), "one was tried again elsewhere")
    a.assert_everybody_runs_once(b, c)
    # Repaired: the next one is about those that are left.
    c.write_hook(memory="32M")
    a.evacuate(c, retries=0)
    t.check(sorted(by_name(a.wait_end("completed"))) == ["g1", "g2"], "those that stayed")
    a.assert_everybody_runs_once(b, c)


def test_blocked_guest(t):
    """One that cannot go over a network stays at once, with its reason; the others go."""
    b = host(t, "b")
    a = Source(t, 2)
    a.guests[0].set_capabilities(mapped_ram=True)
    a.evacuate(b)
    info = by_name(a.wait_end("incomplete"))
    t.check(info["g0"]["state"] == "failed" and info["g0"]["tries"] == 0, f"{info}")
    t.check("mapped-ram" in info["g0"]["error"] and info["g1"]["state"] == "completed", f"{info}")
    t.check(b.called_for("g0") is None, "it was not even announced")
    a.assert_everybody_runs_once(b)


def test_one_is_cancelled_by_hand(t):
    """It stays, and is not tried elsewhere."""
    b, c = host(t, "b"), host(t, "c")
    a = Source(t, 2)
    t.make_slow(a.guests[0])
    t.fill(a.guests[0], 20 << 20, 8 << 20)
    a.evacuate(b, c)
    t.wait_active(a.guests[0])
    a.guests[0].command("migrate_cancel")
    info = by_name(a.wait_end("incomplete"))
    t.check(info["g0"]["state"] == "cancelled" and info["g0"]["tries"] == 1, f"{info}")
    a.assert_everybody_runs_once(b, c)


def test_vmm_ends(t):
    """A guest that ends meanwhile is gone, and nobody waits for it for ever."""
    b = host(t, "b")
    a = Source(t, 2, max_outgoing=1)
    t.make_slow(a.guests[0])
    t.fill(a.guests[0], 20 << 20, 8 << 20)
    a.evacuate(b, retries=0)
    t.wait_active(a.guests[0])
    a.guests[1].kill()
    t.speed_up(a.guests[0])
    info = by_name(a.wait_end("incomplete", timeout=80))
    t.check(info["g0"]["state"] == "completed" and info["g1"]["state"] in ("failed", "gone"), f"{info}")
    a.assert_everybody_runs_once(b, gone=["g1"])


migdtest.main()
