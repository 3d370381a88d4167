#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: lab
# TIMEOUT: 3000
"""Over a cable of 1 Gbit/s, one 20 ms long, one that loses 1 % of the packets, and one that does all three.

Each time a guest that rewrites and verifies its memory, and RAM alone: migd's and, over the same cable, QEMU's. What is
asserted is that everything arrives; the figures are printed. They are an emulated machine's: only their ratio says
something, and with a release build (MIGD_BUILD_DIR).
"""

import subprocess

import inside
import migd_netns
import migd_pattern
import migd_qemu
import migdtest
from migd_process import wait_until

QEMU = "10.0"
MEMORY = "16M"
GUEST = {"memory": "64M", "working_set": "1M"}
PATIENCE = 360  # seconds of patience, which the lab makes ten times as long

# Of each end, so that there and back is twice that. TCP hands over packets as they are on a wire, each of which may be lost.
CABLES = {
    "1 Gbit/s": "rate 1gbit limit 10000",
    "20 ms": "delay 10ms limit 10000",
    "1 % loss": "loss 0.5% limit 10000",
    "all": "rate 1gbit delay 10ms loss 0.5% limit 10000",
}


def hosts(t, cable):
    """Two namespaces and two daemons with that cable between them."""
    spaces = t.cleanup.enter_context(migd_netns.pair())
    subprocess.run(["modprobe", "sch_netem"], check=True)
    for side in (0, 1):
        spaces.ip(side, "link", "set", spaces.links[side], "gso_max_segs", "1")
        spaces.run(side, "tc", "qdisc", "add", "dev", spaces.links[side], "root", "netem", *CABLES[cable].split())
    t.spaces = spaces
    t.a, t.b = t.daemon("a", netns=spaces.names[0]), t.daemon("b", netns=spaces.names[1])
    return spaces


def say(cable, who, info):
    ram = info["ram"]
    speed = ram["transferred"] / 1e3 / max(info["total-time"], 1)
    print(f"{cable:9} {who:20} {ram['transferred'] / 1e6:8.1f} MB {info['total-time'] / 1e3:8.2f} s {speed:8.2f} MB/s "
          f"{info['downtime']:6} ms blackout", flush=True)


def guest(t, cable):
    """A running guest, which goes on verifying."""
    spaces = hosts(t, cable)
    t.options = GUEST
    src = t.vmm(t.a, **GUEST)
    dst = t.incoming(t.b, GUEST)
    t.assert_runs(src)
    src.set(downtime_limit=30000)
    t.start(src, dst, f"tcp:{spaces.addresses[1]}:0")
    info = t.wait_end(src, PATIENCE)
    t.check(info["status"] == "completed", f"the source says {info}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    say(cable, "migd, running guest", info)


def compare(t, source, target, cable, who, migrate):
    """RAM alone: random bytes, all of which arrive."""
    migd_pattern.write(source.memory_file, "random")
    before = migd_pattern.digest(source.memory_file)
    migrate()
    info = wait_until(lambda: (lambda m: m if m.get("status") in migdtest.ENDED else None)(source.migration()),
                      f"{who} ends", PATIENCE)
    t.check(info["status"] == "completed", f"{who}: {info}")
    wait_until(lambda: target.migration().get("status") == "completed", f"{who} arrives", PATIENCE)
    t.check(migd_pattern.digest(target.memory_file) == before, f"{who}: every byte arrived")
    say(cable, who, info)


def ram(t, cable):
    spaces = hosts(t, cable)
    src = t.vmm(t.a, memory=MEMORY, ram_only=migd_qemu.BLOCK)
    dst = t.vmm(t.b, memory=MEMORY, ram_only=migd_qemu.BLOCK, incoming=True)
    uri = f"tcp:{spaces.addresses[1]}:0"
    compare(t, src, dst, cable, "migd, RAM", lambda: t.start(src, dst, uri))
    path, why = migd_qemu.program(QEMU)
    if not path:
        raise migdtest.Skip(f"QEMU's part: {why}")
    qemu = [migd_qemu.Qemu(t, QEMU, MEMORY, incoming=side == 1, netns=spaces.names[side]) for side in (0, 1)]
    for side in qemu:
        side.set_capabilities(return_path=True)
    compare(t, *qemu, cable, f"QEMU {QEMU}, RAM", lambda: qemu[0].command("migrate", {"uri": qemu[1].listen(uri)}))


def test_rate_guest(t):
    guest(t, "1 Gbit/s")


def test_rate_ram(t):
    ram(t, "1 Gbit/s")


def test_delay_guest(t):
    guest(t, "20 ms")


def test_delay_ram(t):
    ram(t, "20 ms")


def test_loss_guest(t):
    guest(t, "1 % loss")


def test_loss_ram(t):
    ram(t, "1 % loss")


def test_all_guest(t):
    guest(t, "all")


def test_all_ram(t):
    ram(t, "all")


inside.bring_qemu(QEMU)
inside.enter(timeout=2700)
migdtest.main()
