# SPDX-License-Identifier: Apache-2.0
"""What is run: each scenario prepares guest memory once, and then measures one side at a time in fresh processes."""
import os
import shutil
import tempfile
import time
from typing import NamedTuple

from lib import limits, memory, migd, pair, qemu, watch

GB = 1e9
GIB = 1 << 30
SETTLE_S = 1.0  # the loaded guest runs before, and is watched after, the migration
ABSENT_MOST = 0.2  # of a gap: beyond it the watcher was away too long to tell


class Sizes(NamedTuple):
    idle: int
    loaded: int
    sparse: int
    used: int


FULL = Sizes(idle=4 * GIB, loaded=GIB // 2, sparse=64 * GIB, used=GIB // 4)
QUICK = Sizes(idle=GIB // 4, loaded=GIB // 4, sparse=4 * GIB, used=GIB // 16)


class Context(NamedTuple):
    directory: str  # in tmpfs
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
        target_ram = memory.hole_file(self.context.path("target.ram"), size)
        directory = tempfile.mkdtemp(prefix="run-", dir=self.context.directory)
        try:
            with new_pair(pair.Spec(size, self.contents, target_ram, **spec), directory) as p:
                before = memory.allocated(p.source_ram)
                if watched:
                    outcome, gap = self._watched(p, directory)
                else:
                    outcome, gap = pair.migrate(p, self.context.n_cpus)[0], None
                    self._check_contents(p)
                return outcome, before, memory.allocated(target_ram), gap
        finally:
            shutil.rmtree(directory)
            os.unlink(target_ram)

    def _check_contents(self, p):
        at = memory.first_difference(p.source_ram, p.spec.target_ram)
        if at is not None:
            raise pair.MigrationError(f"the page at {at:#x} did not arrive as it was sent")

    def _watched(self, p, directory):
        pair.wait_heartbeat(p.source_ram)
        with watch.Watcher(self.context.programs["gapwatch"], p.source_ram, p.spec.target_ram, directory) as w:
            time.sleep(SETTLE_S)
            outcome, began = pair.migrate(p, self.context.n_cpus, [w.pid])
            time.sleep(SETTLE_S)
            return outcome, watch.longest_gap(w.stop(), began)


class Idle(Scenario):
    """An idle guest of incompressible memory."""

    def prepare(self):
        memory.random_file(self.contents, self.context.sizes.idle)

    def migrated(self, new_pair):
        size = self.context.sizes.idle
        outcome, *_ = self.one(new_pair, size)
        return {
            "gbps": size / outcome.seconds / GB,
            "cpu_s_per_gib": outcome.cpu_s / (size / GIB),
            "worker_mib": outcome.worker_mib,
            "daemon_mib": outcome.daemon_mib,
            "others": outcome.others,
        }

    def limit(self):
        results = limits.transfer(self.context.programs["limits"], self.contents)
        return {
            "gbps": limits.by_method(results, "gbps"),
            "cpu_s_per_gib": limits.by_method(results, "cpu_s_per_gib"),
            "all": results,
        }


class Zero(Scenario):
    """An idle guest that has zeroed all of its memory."""

    def prepare(self):
        memory.zero_file(self.contents, self.context.sizes.idle)

    def migrated(self, new_pair):
        size = self.context.sizes.idle
        outcome, *_ = self.one(new_pair, size)
        return {"gbps": size / outcome.seconds / GB, "others": outcome.others}

    def limit(self):
        result = limits.zero_scan(self.context.programs["limits"], self.contents)
        return {"gbps": {result["method"]: result["gbps"]}}


class Sparse(Scenario):
    """
    A large guest of which little is in use, against a small one that uses as much. No peer: QEMU allocates all of the
    large guest's memory on the source.
    """
    sides = ("ours", "limit")

    def prepare(self):
        pass

    def _large(self):
        memory.scattered_file(self.contents, self.context.sizes.sparse, self.context.sizes.used)

    def _small(self):
        memory.random_file(self.contents, self.context.sizes.used)

    def migrated(self, new_pair):
        self._small()
        small, *_ = self.one(new_pair, self.context.sizes.used)
        self._large()
        large, before, after, _ = self.one(new_pair, self.context.sizes.sparse)
        return {
            "seconds": large.seconds,
            "seconds_small": small.seconds,
            "ratio": large.seconds / small.seconds,
            "allocated_ratio": after / before,
            "others": max(small.others, large.others),
        }

    def limit(self):
        self._small()
        results = limits.transfer(self.context.programs["limits"], self.contents)
        return {"seconds": {m: self.context.sizes.used / GB / gbps
                            for m, gbps in limits.by_method(results, "gbps").items()}}


class Blackout(Scenario):
    """A guest that dirties its working set as fast as it goes."""
    sides = ("ours", "peer")

    def __init__(self, context, working_set, downtime_limit_ms):
        super().__init__(context)
        self.working_set = min(working_set, context.sizes.loaded // 2)
        self.downtime_limit_ms = downtime_limit_ms

    def prepare(self):
        memory.random_file(self.contents, self.context.sizes.loaded)

    def migrated(self, new_pair):
        outcome, _, _, gap = self.one(new_pair, self.context.sizes.loaded, watched=True, working_set=self.working_set,
                                      downtime_limit_ms=self.downtime_limit_ms)
        length, absent = gap
        return {
            "blackout_ms": length,
            "absent_ms": absent,
            "downtime_ms": outcome.downtime_ms,
            "passes": outcome.passes,
            "seconds": outcome.seconds,
            "others": outcome.others,
            "is_noisy": absent > 1 and absent > ABSENT_MOST * length,
        }


class Kernels(Scenario):
    """No guest: the loops over every byte of memory, each version that this CPU has."""
    sides = ("ours",)

    def prepare(self):
        pass

    def ours(self):
        return limits.kernels(self.context.programs["kernels"])


def _blackout(mib, limit_ms=300):
    return lambda context: Blackout(context, mib << 20, limit_ms)


SCENARIOS = {
    "idle": Idle,
    "zero": Zero,
    "sparse": Sparse,
    "blackout-1m": _blackout(1),
    "blackout-16m": _blackout(16),
    "blackout-128m": _blackout(128),
    "blackout-16m-50ms": _blackout(16, 50),
    "blackout-128m-50ms": _blackout(128, 50),
    "kernels": Kernels,
}
