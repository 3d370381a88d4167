#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# SERIAL: makes network namespaces with fixed addresses
"""A guest is announced on its networks once it has arrived, as often as the parameters say, and by announce-self."""

import os
import subprocess
import sys

import migdtest
from migd_process import wait_until

MAC = "02:11:22:33:44:55"
LISTENER = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x8035))
s.bind((sys.argv[1], 0x8035))
print("listening", flush=True)
while True:
    print(s.recv(2048).hex(), flush=True)
"""
AT_ONCE = {"initial": 0, "max": 0, "step": 1}


class Ear:
    """Hears RARP frames on an interface in a namespace."""

    def __init__(self, t, netns, interface):
        self.path = os.path.join(t.dir, f"{netns}-{interface}.frames")
        with open(self.path, "wb") as out:
            self.proc = subprocess.Popen(["ip", "netns", "exec", netns, sys.executable, "-c", LISTENER, interface], stdout=out)
        t.cleanup.callback(self.proc.wait)
        t.cleanup.callback(self.proc.kill)
        wait_until(lambda: os.path.getsize(self.path) > 0, f"somebody listens on {interface}")

    def frames(self):
        with open(self.path) as f:
            return f.read().split()[1:]


def guest_with_tap(t):
    """(source, destination, ear at each), each with a tap "guest0" in a namespace of its own."""
    migdtest.need_root()
    if not os.path.exists("/dev/net/tun"):
        raise migdtest.Skip("/dev/net/tun is not there")
    spaces = t.netns_pair()
    for space in spaces:
        subprocess.run(["ip", "-n", space, "tuntap", "add", "guest0", "mode", "tap"], check=True)
        subprocess.run(["ip", "-n", space, "link", "set", "guest0", "up"], check=True)
    ears = [Ear(t, space, "guest0") for space in spaces]
    t.a, t.b = t.daemon("a"), t.daemon("b")
    options = {"working_set": "4M", "extra": ("--net", f"tap=guest0,mac={MAC},id=front")}
    src = t.vmm(t.a, netns=spaces[0], **options)
    dst = t.vmm(t.b, netns=spaces[1], incoming=True, **{**options, "extra": ("--net", "tap=guest0,id=front")})
    t.assert_runs(src)
    return src, dst, ears[0], ears[1]


def announce(vmm, **arguments):
    vmm.command("announce-self", {**AT_ONCE, **arguments})


def check_frames(t, ear, n):
    """Exactly N frames, the right ones."""
    wait_until(lambda: len(ear.frames()) >= n, f"{n} frames are heard; there are {len(ear.frames())}")
    frames = ear.frames()
    address = MAC.replace(":", "")
    expected = "ff" * 6 + address + "8035" + "0001" + "0800" + "06" + "04" + "0003" + address + "00" * 4 + address
    t.check(all(f.startswith(expected) for f in frames), f"they are RARP of the guest's address: {frames}")
    t.check(len(frames) == n, f"{len(frames)} frames, not {n}")


def test_after_a_migration(t):
    src, dst, here, there = guest_with_tap(t)
    dst.set(announce_initial=10, announce_max=20, announce_step=5, announce_rounds=6)
    t.migrate(src, dst)
    check_frames(t, there, 6)
    announce(dst, rounds=2, id="again")  # the address arrived with the guest
    check_frames(t, there, 8)
    check_frames(t, here, 0)
    t.assert_only_runs(dst, src)


def test_no_rounds_no_frames(t):
    src, dst, here, there = guest_with_tap(t)
    dst.set(announce_rounds=0)
    t.migrate(src, dst)
    announce(dst, rounds=1)
    check_frames(t, there, 1)
    check_frames(t, here, 0)


def test_on_command(t):
    src, dst, here, there = guest_with_tap(t)
    announce(src, rounds=3)
    check_frames(t, here, 3)
    announce(src, rounds=5, interfaces=["back"])
    announce(src, rounds=1, interfaces=["back", "front"], id="both")
    check_frames(t, here, 4)
    # A guest that is not here is not announced, and one that was given away is not any more.
    t.assert_refused(dst, "announce-self", {**AT_ONCE, "rounds": 1}, "ANNOUNCE", "empty")
    dst.set(announce_rounds=1)
    t.migrate(src, dst)
    check_frames(t, there, 1)
    check_frames(t, here, 4)


def test_failed_migration_is_not_announced(t):
    src, dst, here, there = guest_with_tap(t)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    dst.kill()
    t.assert_failed(src)
    announce(src, rounds=1)
    check_frames(t, here, 1)
    check_frames(t, there, 0)


migdtest.main()
