#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Modes that keep the memory on the host."""

import os

from migd_process import wait_until
from migd_scenario import PATIENCE, main, scenario


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


@scenario("mode/reboot")
def reboot(s):
    s.start(shared_memory=os.path.join(s.shm, "shared.ram"))
    for vmm in s.src, s.dst:
        s.set(vmm, mode="cpr-reboot")
        s.capabilities(vmm, "x-ignore-shared")
    path = os.path.join(s.dir, "state")
    s.file("file:" + path, stopped=True)
    s.check(os.stat(path).st_size < 4 << 20, f"no memory is in the file: {os.stat(path).st_size} bytes")


@scenario("mode/exec")
def execute(s):
    """The VMM becomes its own binary anew, with the same pid, and takes the guest from the file."""
    path = os.path.join(s.dir, "state")
    s.start(memfd=True, destination=False, daemon={"extra": ["--allow-exec"]})
    with open(f"/proc/{s.src.pid}/cmdline", "rb") as f:
        argv = [word.decode() for word in f.read().split(b"\0")[:-1]]
    pid = s.a.guest(s.src.name)["pid"]
    s.fast(s.src)
    s.set(s.src, mode="cpr-exec", cpr_exec_command=argv + ["--incoming"])
    s.go("file:" + path)
    s.wait_seen(s.src, "MIGRATION", status="completed")
    wait_until(lambda: (s.a.guest(s.src.name) or {}).get("role") == "incoming", "the new program is attached",
               PATIENCE, alive=[s.src])
    s.check(not s.seen(s.src, "MIGRATION", status="failed"), "nothing failed")
    s.check(s.a.guest(s.src.name)["pid"] == pid == s.src.pid, "it has the same pid")
    s.forget_events(s.src)
    s.capabilities(s.src, "events")
    s.src.command("migrate-incoming", {"channels": [
        {"channel-type": "main", "addr": {"transport": "file", "filename": path, "offset": 0}}]})
    s.wait_seen(s.src, "MIGRATION", status="completed")
    s.wait_seen(s.src, "RESUME")
    s.check_ram(s.src)


main()
