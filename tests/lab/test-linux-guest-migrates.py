#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: lab
# TIMEOUT: 1500
"""An unmodified Debian kernel goes on ticking on its serial console while it migrates, and notices nothing."""

import glob
import os
import re

import initramfs
import inside
import migdtest
from migd_process import BUILD_DIR, SOURCE_DIR, wait_until

INITRAMFS = os.path.join(BUILD_DIR, "tests", "linux-guest.cpio")
TICK = re.compile(r"^tick (\d+)$", re.M)
KERNEL_MESSAGE = re.compile(r"\[ *\d+\.\d{6}\] .*\n")
TROUBLE = re.compile(r"^.*(FAULT:|BUG:|Oops|Kernel panic|Call Trace|soft lockup|hard LOCKUP|detected stalls|"
                     r"hung task|clocksource: .*(unstable|skewed)|Marking TSC unstable|"
                     r"nobody cared|Unknown NMI).*$", re.M)


class Journey:
    """A Linux guest and all its VMMs so far; `here` is where it runs."""

    def __init__(self, t, **options):
        self.t = t
        self.options = {"payload": None, "memory": "256M", **options}
        self.daemons = [t.daemon("a"), t.daemon("b")]
        kernel = ["--kernel", glob.glob("/boot/vmlinuz-*")[0], "--initrd", INITRAMFS, "--append", "console=ttyS0 panic=-1"]
        self.vmms = [t.vmm(self.daemons[0], **{**self.options, "extra": [*self.options.get("extra", []), *kernel]})]
        wait_until(self.ticks, "Linux boots", 60, every=0.5, alive=self.vmms)
        print("\n".join(line for line in self.console().splitlines() if "Linux version" in line))

    here = property(lambda self: self.vmms[-1])

    def console(self):
        """All it printed, wherever it ran: a line may begin on one serial port and end on the next."""
        return "".join(vmm.serial_text() for vmm in self.vmms).replace("\r", "")

    def ticks(self):
        """Their numbers; a message of the kernel may stand in the middle of a line."""
        return [int(n) for n in TICK.findall(KERNEL_MESSAGE.sub("", self.console()))]

    def wait_ticks(self, n):
        goal = len(self.ticks()) + n
        wait_until(lambda: len(self.ticks()) >= goal, f"the guest in {self.here.label} ticks", 30, every=0.2, alive=[self.here])

    def check_console(self):
        """What it printed is whole, and tells of no trouble."""
        seen, console = self.ticks(), self.console()
        trouble = TROUBLE.search(console)
        self.t.check(not trouble, f"the guest's console tells of trouble: {trouble and trouble.group(0)}\n{console}")
        self.t.check(seen == list(range(1, len(seen) + 1)), f"ticks are missing or repeated:\n{console}")

    def hop(self):
        src = self.here
        dst = self.t.incoming(self.daemons[len(self.vmms) % 2], self.options)
        self.wait_ticks(25)  # so many does the guest need to know its clocks
        info = self.t.migrate(src, dst, timeout=120)
        at_source = len(self.ticks())
        self.vmms.append(dst)
        self.t.check(src.wait_exit() == 0, "the source VMM ends well")
        self.t.check("now runs elsewhere" in src.log_text(), f"the source VMM says why it ends: {src.log_text()}")
        self.wait_ticks(20)
        self.check_console()
        print(f"moved to {dst.daemon.name} after tick {at_source}, seen to reach {len(self.ticks())}; downtime "
              f"{info['downtime']} ms, {info['ram']['transferred'] >> 20} MiB in {info['total-time']} ms", flush=True)


def test_there_and_back(t):
    journey = Journey(t)
    journey.hop()
    journey.hop()


def test_there_and_back_with_dirty_ring(t):
    journey = Journey(t, extra=["--dirty-ring", "4096"])
    journey.hop()
    journey.hop()


if not os.environ.get("MIGD_LAB"):
    os.makedirs(os.path.dirname(INITRAMFS), exist_ok=True)
    initramfs.make(os.path.join(SOURCE_DIR, "tests", "lab", "linux-init.c"), INITRAMFS)
inside.enter(timeout=1000)
migdtest.main()
