# SPDX-License-Identifier: Apache-2.0
"""What all scenarios have: guest memory prepared once, and then one side at a time measured in fresh processes."""
import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from typing import NamedTuple

from lib import memory, migd, pair, qemu, watch

GB = 1e9
GIB = 1 << 30
MIB = 1 << 20
GBIT_S = 125_000_000
SETTLE_S = 1.0  # the loaded guest runs before, and is watched after, the migration
ABSENT_MOST = 0.2  # of a gap: beyond it the watcher was away too long to tell


class Sizes(NamedTuple):
    idle: int
    loaded: int
    sparse: int
    used: int
    saved: int


FULL = Sizes(idle=4 * GIB, loaded=GIB // 2, sparse=64 * GIB, used=GIB // 4, saved=2 * GIB)
QUICK = Sizes(idle=GIB // 4, loaded=GIB // 4, sparse=4 * GIB, used=GIB // 16, saved=GIB // 4)


class Context(NamedTuple):
    directory: str  # in tmpfs
    disk: str  # a directory on a disk
    images: object  # guest.Images
    programs: dict  # {name: path}
    sizes: Sizes
    n_cpus: int

    def path(self, name):
        return os.path.join(self.directory, name)


class Scenario:
    """PREPARE, then MEASURE(side) any number of times, then CLEAN. A sample is a dict of numbers by metric."""
    sides = ("ours", "peer", "limit")

    def __init__(self, context):
        self.context = context
        self.contents = context.path("contents.ram")

    def prepare(self):
        raise NotImplementedError

    def clean(self):
        if os.path.exists(self.contents):
            os.unlink(self.contents)

    def measure(self, side):
        return {"ours": self.ours, "peer": self.peer, "limit": self.limit}[side]()

    def ours(self):
        return self.migrated(self._migd)

    def peer(self):
        return self.migrated(self._qemu)

    def limit(self):
        raise NotImplementedError

    def migrated(self, new_pair):
        raise NotImplementedError

    def _migd(self, spec, directory):
        return migd.MigdPair(spec, self.context.images, directory, self.context.programs)

    def _qemu(self, spec, directory):
        return qemu.QemuPair(spec, self.context.images, directory)

    def one(self, new_pair, size, watched=False, **spec):
        """One migration of CONTENTS to a fresh file: (Outcome, bytes allocated before, after at the target, what the watcher saw)."""
        with self.started(new_pair, size, **spec) as p:
            before = memory.allocated(p.source_ram)
            if watched:
                outcome, began, seen = self.watched(p)
                gap = watch.longest_gap(seen, began)
            else:
                outcome, gap = pair.migrate(p, self.context.n_cpus)[0], None
                self.check_contents(p)
            return outcome, before, memory.allocated(p.spec.target_ram), gap

    @contextmanager
    def started(self, new_pair, size, **spec):
        """A started pair whose source has CONTENTS, its target a fresh file."""
        target_ram = memory.hole_file(self.context.path("target.ram"), size)
        directory = tempfile.mkdtemp(prefix="run-", dir=self.context.directory)
        try:
            with new_pair(pair.Spec(size, self.contents, target_ram, **spec), directory) as p:
                yield p
        finally:
            shutil.rmtree(directory)
            os.unlink(target_ram)

    def check_contents(self, p):
        at = memory.first_difference(p.source_ram, p.spec.target_ram)
        if at is not None:
            raise pair.MigrationError(f"the page at {at:#x} did not arrive as it was sent")

    def watched(self, p, **how):
        """A loaded guest's migration, HOW pair.migrate takes it: (Outcome, when it began, what the watcher saw)."""
        pair.wait_heartbeat(p.source_ram)
        with watch.Watcher(self.context.programs["gapwatch"], p.source_ram, p.spec.target_ram, p.directory) as w:
            time.sleep(SETTLE_S)
            outcome, began = pair.migrate(p, self.context.n_cpus, [w.pid], **how)
            time.sleep(SETTLE_S)
            return outcome, began, w.stop()


def is_absent(length_ms, absent_ms):
    """The watcher was away too long to believe that gap."""
    return absent_ms > 1 and absent_ms > ABSENT_MOST * length_ms
