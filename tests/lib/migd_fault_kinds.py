# SPDX-License-Identifier: Apache-2.0
"""
The faults of the fault matrix. Each strikes while the process at the point is stopped there; then that goes on.

    apply(run, pid)   do it; returns why there was nothing to strike, or None. `pid` is who is stopped
    undo(run)         mend what does not mend itself, `lasts` seconds after the stopped process goes on
    action            what MIGD_FAULT asks of who gets to the point: "stop", or a fault that it makes itself
"""

import os
import signal
import time

import migd_process
from migd_process import is_running, wait_until

DAY = 24 * 3600


class Fault:
    action = "stop"
    lasts = 0

    def __init__(self, name):
        self.name = name

    def prepare(self, run):
        """Before anything is made: why this cell cannot be, or None."""

    def wait(self, run):
        time.sleep(self.lasts)

    def undo(self, run):
        pass


def _kill(pid):
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid), f"process {pid} is gone")


class KillWorker(Fault):
    def __init__(self, name, side):
        super().__init__(name)
        self.side = side

    def apply(self, run, pid):
        workers = run.workers(self.side)
        for worker in workers:
            _kill(worker)
        return None if workers else "no worker"


class KillDaemon(Fault):
    """A successor takes over."""

    def __init__(self, name, side):
        super().__init__(name)
        self.side = side

    def apply(self, run, pid):
        run.kill_daemon(self.side)

    def undo(self, run):
        run.succeed_daemon(self.side)


class KillVmm(Fault):
    def __init__(self, name, side):
        super().__init__(name)
        self.side = side

    def apply(self, run, pid):
        vmm = run.vmms[self.side]
        if not vmm or not vmm.running():
            return "no VMM"
        vmm.kill()
        run.killed_vmm = self.side
        return None


class Network(Fault):
    """What the link does to the connections that are open."""

    def __init__(self, name, method, *args):
        super().__init__(name)
        self.method = method
        self.args = args

    def apply(self, run, pid):
        if not run.link:
            return "no network"
        return None if getattr(run.link, self.method)(*self.args) else "no connection"


class Clock(Fault):
    """The wall clock of who is at the point."""

    def __init__(self, name, seconds):
        super().__init__(name)
        self.action = f"clock{seconds:+d}"

    def apply(self, run, pid):
        pass


SLOW = migd_process.SLOW
KINDS = [
    KillWorker("kill-source-worker", "source"),
    KillWorker("kill-target-worker", "target"),
    KillDaemon("kill-source-daemon", "source"),
    KillDaemon("kill-target-daemon", "target"),
    KillVmm("kill-source-vmm", "source"),
    KillVmm("kill-target-vmm", "target"),
    Network("reset", "reset"),
    Network("drop", "drop", 2),
    Network("delay", "delay", 0.5),
    Network("truncate", "truncate"),
    Clock("clock+day", DAY),
    Clock("clock-day", -DAY),
]
