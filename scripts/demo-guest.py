#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demonstration itself; scripts/demo builds what it needs. Two migd, two migd-vmm, one guest that moves."""

import argparse
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/lib"))
import migd_process  # noqa: E402
import migdtest  # noqa: E402

MIB = 1 << 20


class GapWatch(threading.Thread):
    """The longest time for which the guest's own counter stood still, wherever it runs, seen from outside."""

    def __init__(self, *memories):
        super().__init__(daemon=True)
        self.memories = memories
        self.longest = 0.0
        self.stopping = threading.Event()

    def run(self):
        last, at = 0, time.monotonic()
        while not self.stopping.is_set():
            beat, now = max(m.heartbeat for m in self.memories), time.monotonic()
            self.longest = max(self.longest, now - at)
            if beat != last:
                last, at = beat, now
            time.sleep(0.0002)

    def measure(self):
        """The longest gap since the last call, in ms."""
        longest, self.longest = self.longest, 0.0
        return longest * 1000


def say(name, text):
    print(f"  {name:<14} {text}", flush=True)


def migctl(daemon, *args):
    """Run it where the user sees it."""
    command = [migd_process.program("migctl"), "-s", daemon.qmp_path, *args]
    print("\n$ migctl -s", os.path.join("...", daemon.name, "qmp"), *args, flush=True)
    return subprocess.run(command, check=False).returncode


def parse_args():
    p = argparse.ArgumentParser(prog="scripts/demo", description="Live-migrate a KVM guest between two migd over TCP.")
    p.add_argument("--memory", default="512M", help="guest RAM (512M)")
    p.add_argument("--working-set", default="64M", help="how much of it the guest rewrites all the time (64M)")
    p.add_argument("--rate", type=int, default=4000, help="pages it rewrites a second; 0: as fast as it can (4000)")
    return p.parse_args()


def verified(dst, pages):
    """True once the guest verified so many more pages on the new side."""
    before = dst.mem.checks
    try:
        migd_process.wait_until(lambda: dst.mem.checks >= before + pages or dst.mem.failures, "pages", timeout=60)
    except AssertionError:
        return False
    return dst.mem.failures == 0 and dst.mem.status != 2


def migrate(t, options):
    """Set everything up and move the guest; (query-migrate's answer, gap before, gap during, source, destination)."""
    a, b = t.daemon("a"), t.daemon("b")
    guest = {"memory": options.memory, "working_set": options.working_set, "rate": options.rate or None}
    src, dst = t.vmm(a, name="demo", **guest), t.incoming(b, guest, name="demo")
    t.assert_runs(src)
    pages = src.mem.detail(1)
    print(f"A guest with {options.memory} of RAM runs; it rewrites and verifies {options.working_set} of it"
          f"{f', {options.rate} pages a second' if options.rate else ''}.")
    if not verified(src, pages):
        raise AssertionError(f"the guest does not work even before it moves: {src.mem.describe()}")
    watch = GapWatch(src.mem, dst.mem)
    watch.start()
    time.sleep(1)
    before = watch.measure()
    migctl(a, "guests")
    migctl(b, "incoming", "tcp:127.0.0.1:0")
    port = dst.migration()["socket-address"][0]["port"]
    migctl(a, "set", "max-bandwidth=0")
    if migctl(a, "migrate", f"tcp:127.0.0.1:{port}") != 0:
        raise AssertionError("the migration did not complete")
    info = src.migration()
    t.assert_runs(dst)
    during = watch.measure()
    watch.stopping.set()
    watch.join()
    migctl(b, "status")
    return info, before, during, src, dst


def report(info, before, during, src, dst):
    """Print what happened; True if all is as it must be."""
    ram = info["ram"]
    seconds = info["total-time"] / 1000
    pieces = ", ".join(f"{k} {v / 1000:.1f}" for k, v in info.get("blackout", {}).items() if v)
    print("\nWhat happened:")
    say("total time", f"{seconds:.2f} s")
    say("blackout", f"{during:.1f} ms: the longest gap in the guest's own counter, seen from outside")
    say("", f"(its longest gap in the second before the migration: {before:.1f} ms)")
    say("", f"migd measured {info.get('downtime', 0)} ms: {pieces} ms")
    say("throughput", f"{ram['transferred'] / MIB:.1f} MiB sent, {ram['transferred'] / MIB / max(seconds, 0.001):.0f} MiB/s")
    say("passes", str(ram["dirty-sync-count"]))
    say("never touched", f"{ram.get('hole', 0) * 4096 / MIB:.0f} MiB, neither read nor sent")
    ok = verified(dst, 2 * dst.mem.detail(1))
    say("memory", "every page verified by the guest after the move: correct" if ok
        else f"WRONG: {dst.mem.describe()}")
    gone = src.wait_exit() == 0
    beat = src.mem.heartbeat
    time.sleep(0.2)
    stopped = src.mem.heartbeat == beat
    say("source", "VMM ended by itself; the guest does not run there" if gone and stopped else "STILL THERE")
    return ok and gone and stopped


def main():
    options = parse_args()
    migd_process.become_subreaper()
    t = migdtest.Test("demo")
    try:
        good = report(*migrate(t, options))
        print("\nIt worked." if good else "\nSomething is WRONG, see above.")
    except (AssertionError, migdtest.QmpError, migdtest.QmpClosed, subprocess.SubprocessError) as e:
        print(f"\ndemo: {e}", file=sys.stderr)
        t.print_logs()
        good = False
    finally:
        t.close()
    sys.exit(0 if good else 1)


main()
