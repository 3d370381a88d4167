# SPDX-License-Identifier: Apache-2.0
"""The peer: two QEMU processes, one migrating to the other."""
import os
import re
import shutil
import subprocess

from lib import pair

# Unpacked by scripts/fetch-qemu, or else the installed one.
FETCHED = os.path.join(os.path.dirname(__file__), "..", "..", "build", "qemu", "10.0", "usr", "bin", "qemu-system-x86_64")
PROGRAM = os.path.abspath(FETCHED) if os.path.exists(FETCHED) else "qemu-system-x86_64"
OLDEST = (10, 0)


def version():
    """(major, minor), or None without QEMU."""
    if not shutil.which(PROGRAM):
        return None
    out = subprocess.run([PROGRAM, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = re.search(r"version (\d+)\.(\d+)", out)
    return (int(found[1]), int(found[2])) if found else None


def unusable():
    """Why this machine's QEMU cannot be the peer, and what to do; None if it can."""
    v = version()
    advice = "run scripts/install-deps, which fetches it from Debian's backports into build/qemu"
    if v is None:
        return f"{PROGRAM} is not installed: {advice}"
    if v < OLDEST:
        return f"{PROGRAM} is {v[0]}.{v[1]}, the peer is {OLDEST[0]}.{OLDEST[1]} or later: {advice}"
    return None


class QemuPair(pair.Pair):
    """
    Idle guests are on the machine "none": nothing but RAM. A loaded guest is a PC without devices whose firmware is the
    guest's boot sector; the return path is on for it, as migd always has one.
    """
    is_peer = True
    unlimited = 100 << 30  # bytes/s; QEMU knows no "none"

    def _argv(self, name, ram):
        size = self.spec.memory
        argv = [PROGRAM, "-accel", "kvm", "-m", f"{size >> 20}M", "-nodefaults", "-display", "none",
                "-object", f"memory-backend-file,id=ram,size={size},mem-path={ram},share=on",
                "-qmp", f"unix:{self.directory}/qemu-{name}.qmp,server=on,wait=off"]
        if self.spec.working_set:
            return argv + ["-M", "pc,memory-backend=ram", "-bios", self.images.firmware(self.spec.working_set, self.spec.guest)]
        return argv + ["-M", "none,memory-backend=ram", "-S"]

    def _start_one(self, name, ram, more):
        process = self.run(f"qemu-{name}", self._argv(name, ram) + more)
        session = self.connect(f"{self.directory}/qemu-{name}.qmp", f"QEMU's {name}", process)
        wants_answers = self.spec.working_set and "background-snapshot" not in self.spec.capabilities
        self.configure(session, name, return_path=bool(wants_answers))
        return session

    def start(self):
        self.target = self._start_one("target", self.spec.target_ram, ["-incoming", "defer"])
        self.source = self._start_one("source", self.source_ram, [])
