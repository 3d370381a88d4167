#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Pre-copy of a guest that sleeps."""

from migd_qmp import QmpError
from migd_scenario import main, scenario


@scenario("precopy/unix/suspend/live", live=True)
@scenario("precopy/unix/suspend/notlive", live=False)
def precopy_unix_suspend(s, live):
    s.start(suspend_after=1)
    s.wait_seen(s.src, "SUSPEND")
    s.check(s.src.run_state() == "suspended", f"the source sleeps, and is {s.src.run_state()}")
    s.precopy(s.unix_uri(), live=live, suspended=True)
    s.check(s.seen(s.dst, "WAKEUP"), "the destination said WAKEUP")
    try:
        s.dst.command("system_wakeup")
    except QmpError as e:
        s.check("not in suspended state" in e.desc, f"the error is {e}")
    else:
        raise AssertionError("a guest that is awake was woken")


main()
