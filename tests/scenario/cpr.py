#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Modes that keep the memory on the host."""

import os

from migd_process import wait_until
from migd_scenario import main, scenario


def unix(kind, path):
    return {"channel-type": kind, "addr": {"transport": "socket", "type": "unix", "path": path}}


@scenario("mode/transfer")
@scenario("mode/transfer/defer", defer=True)
def transfer(s, defer=False):
    """The new VMM waits for the memory, and its monitor is spoken to only once `migrate` has started."""
    cpr, main_path = os.path.join(s.dir, "cpr"), os.path.join(s.dir, "migration")
    s.start(memfd=True, destination=False)
    s.dst = s.incoming(s.b, s.options, memfd=False, cpr=cpr, attached=False)
    wait_until(lambda: os.path.exists(cpr), "the new VMM waits for the memory", alive=[s.dst])
    s.set(s.src, mode="cpr-transfer")
    s.src.command("stop")
    s.fast(s.src)
    s.mark()
    s.go(channels=[unix("main", main_path), unix("cpr", cpr)])
    s.dst.wait_attached()
    s.capabilities(s.dst, "events")
    s.listen("unix:" + main_path) if defer else s.listen(channels=[unix("main", main_path)])
    s.wait_status(s.src, "completed")
    s.wait_status(s.dst, "completed")
    s.dst.command("cont")
    s.check_arrived()


main()
