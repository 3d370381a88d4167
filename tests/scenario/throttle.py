#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""A guest that dirties memory faster than it can be sent is throttled until the migration converges."""

import time

from migd_process import wait_until
from migd_scenario import PATIENCE, main, scenario

INITIAL, INCREMENT, MAXIMUM = 5, 25, 95


def throttle_of(s):
    return s.src.migration().get("cpu-throttle-percentage", 0)


def syncs_of(s):
    return s.src.migration().get("ram", {}).get("dirty-sync-count", 0)


@scenario("auto_converge")
def auto_converge(s):
    s.start()
    s.capabilities(s.src, "auto-converge", "pause-before-switchover")
    s.set(s.src, cpu_throttle_initial=INITIAL, cpu_throttle_increment=INCREMENT, max_cpu_throttle=MAXIMUM)
    s.slow(s.src)
    s.go(s.listen(s.unix_uri()))

    # At 3 MB/s the first pass over 99 MiB takes more than 30 s; decisions are made after it.
    wait_until(lambda: syncs_of(s) >= 2, "the first pass ends", PATIENCE, alive=[s.src])
    before, began = syncs_of(s), time.monotonic()
    wait_until(lambda: syncs_of(s) > before, "a sync in the middle of a pass", PATIENCE, alive=[s.src])
    s.check(time.monotonic() - began < 10, f"no sync for {time.monotonic() - began:.1f} s, a third of a pass")
    first = wait_until(lambda: throttle_of(s), "the guest is throttled", PATIENCE, alive=[s.src])
    s.check(first >= INITIAL, f"the throttle begins with {first}%")
    s.check(not s.seen(s.src, "STOP"), "the guest was stopped before it was throttled")

    s.fast(s.src)
    info = s.wait_status(s.src, "pre-switchover")
    s.check(0 < info["cpu-throttle-percentage"] <= MAXIMUM, f"in pre-switchover the throttle is {info}")
    s.src.command("migrate-continue", {"state": "pre-switchover"})
    s.finish()


main()
