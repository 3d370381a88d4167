# SPDX-License-Identifier: Apache-2.0
"""
Faults of the fault matrix that are a lack of something: as in migd_fault_kinds.py, and before anything is made

    prepare(run)   returns why this cell cannot be, or None

All of them are the kernel's own, but EIO: no file system that a test can make has it on demand.
"""

import contextlib
import os
import resource

import migd_mount
import migd_reports
from migd_fault_kinds import Fault
from migd_process import wait_until

# What a cell writes by itself on the small disks; a guest has its memory on one of them.
STATE_BYTES = 1 << 20
MEMORY_BYTES = 192 << 20
# So that who is stopped has the few bytes that noting the failure takes.
SPARE_BYTES = 64 << 10

# What is not over by then waits for it to be mended.
LASTS_SECONDS = 3


class Lack(Fault):
    def wait(self, run):
        with contextlib.suppress(AssertionError):
            wait_until(lambda: run.scenario.is_over(run), "the migration ends", LASTS_SECONDS)


class Limit(Lack):
    """prlimit(2): who is stopped has what it has, and gets no more of it until the migration ended."""

    def __init__(self, name, kind):
        super().__init__(name)
        self.kind = kind
        self.pid = None

    def prepare(self, run):
        if self.kind == resource.RLIMIT_AS and migd_reports.INSTRUMENTED:
            return "AddressSanitizer, or valgrind, needs its address space"
        return None

    def now(self, pid):
        if self.kind == resource.RLIMIT_NOFILE:
            there = {int(n) for n in os.listdir(f"/proc/{pid}/fd")}
            return next(n for n in range(len(there) + 1) if n not in there)
        with open(f"/proc/{pid}/statm") as f:
            return int(f.read().split()[0]) * resource.getpagesize() + SPARE_BYTES

    def apply(self, run, pid):
        self.pid = pid
        self.set(self.now(pid))

    def undo(self, run):
        with contextlib.suppress(ProcessLookupError):
            self.set(resource.prlimit(self.pid, self.kind)[1])

    def set(self, soft):
        """The hard limit stays: a worker lowers its own when it is locked in, and who may not raise it again tests as well."""
        resource.prlimit(self.pid, self.kind, (soft, resource.prlimit(self.pid, self.kind)[1]))


class FullDisk(Lack):
    """The disk that has one of the cell's directories is full. `bytes` is all that it has."""

    def __init__(self, name, where, size):
        super().__init__(name)
        self.where = where
        self.size = size
        self.path = None

    def prepare(self, run):
        self.path = migd_mount.small_disk(run.t, self.size, at=self.where(run))

    def apply(self, run, pid):
        with open(os.path.join(self.path, "filler"), "wb", buffering=0) as f, contextlib.suppress(OSError):
            while True:
                f.write(bytes(4096))

    def undo(self, run):
        os.unlink(os.path.join(self.path, "filler"))


class Fails(Fault):
    """The operation at the point fails by itself."""

    def __init__(self, name, action):
        super().__init__(name)
        self.action = action

    def prepare(self, run):
        return None if run.can_fail() else "nothing to fail"


def _state(side):
    return lambda run: os.path.join(run.t.dir, side, "state")


RESOURCES = [
    Limit("EMFILE", resource.RLIMIT_NOFILE),
    Limit("ENOMEM", resource.RLIMIT_AS),
    FullDisk("ENOSPC-source-state", _state("a"), STATE_BYTES),
    FullDisk("ENOSPC-target-state", _state("b"), STATE_BYTES),
    FullDisk("ENOSPC-memory", lambda run: run.t.shm, MEMORY_BYTES),
    FullDisk("ENOSPC-file", lambda run: os.path.join(run.t.dir, "files"), MEMORY_BYTES),
    Fails("EIO", "EIO"),
]
