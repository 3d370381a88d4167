# SPDX-License-Identifier: Apache-2.0
"""Background snapshots: how much slower the guest is while one is taken."""
import os
import time

from lib import guest, memory, pair
from lib.base import MIB, SETTLE_S, Scenario

SPARE = 64 * MIB  # of the guest's memory is not in its working set


class Snapshot(Scenario):
    """A guest that dirties most of its memory as fast as it goes, saved to a file in tmpfs: no disk takes part."""
    sides = ("ours", "peer")

    def prepare(self):
        memory.random_file(self.contents, self.context.sizes.loaded)

    def migrated(self, new_pair):
        size = self.context.sizes.loaded
        path = self.context.path("snapshot")
        try:
            with self.started(new_pair, size, working_set=size - SPARE, capabilities=("background-snapshot",)) as p:
                return self._sample(p, path)
        finally:
            if os.path.exists(path):
                os.unlink(path)

    def _sample(self, p, path):
        pair.wait_heartbeat(p.source_ram)
        first, started = guest.heartbeat(p.source_ram), time.monotonic()
        time.sleep(SETTLE_S)
        before = (guest.heartbeat(p.source_ram) - first) / (time.monotonic() - started)
        first = guest.heartbeat(p.source_ram)
        outcome, began = pair.run(p, [p.source], lambda: p.source.execute("migrate", {"uri": f"file:{path}"}),
                                  self.context.n_cpus)
        during = (guest.heartbeat(p.source_ram) - first) / (time.monotonic() - began)
        return {"slowdown": before / during, "lost_ms": (1 - during / before) * outcome.seconds * 1e3,
                "seconds": outcome.seconds, "downtime_ms": outcome.downtime_ms, "others": outcome.others}
