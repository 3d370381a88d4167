# SPDX-License-Identifier: Apache-2.0
"""
Migrations of the fault matrix to a file and from one, and what has to hold after each:

save       the guest is in the file, whole, or it runs on and there is no file: never both, and neither only if its VMM was killed
snapshot   the guest runs on, and the file is whole, or not there
restore    the guest runs, or it failed: then the file is as it was, and another VMM can have the guest
"""

import hashlib
import os
import time

import migd_fault_checks as checks
from migd_fault_scenarios import Precopy, every
from migd_process import SLOW, wait_until

MIB = 1 << 20
GUEST = {"memory": "64M", "working_set": "4M"}
FILLED = slice(32 * MIB, 40 * MIB)   # memory that the guest does not look at
ENDED = ("completed", "failed", "cancelled")
SETTLE_SECONDS = 90
DOUBT_SECONDS = 5                    # nobody but an operator knows what is in a file
BACKGROUND = 8 * MIB                 # of a lazy restore, bytes/s


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class File(Precopy):
    """What all of them have. The side that works on the file is `side`."""

    side = "source"
    incoming = {}

    def prepare(self, run):
        run.pair(**GUEST)
        run.directory = os.path.join(run.t.dir, "files")
        os.makedirs(run.directory, exist_ok=True)
        run.file = os.path.join(run.directory, "guest")
        run.vmms["source"].mem.map[FILLED] = b"x" * (FILLED.stop - FILLED.start)
        for vmm in run.vmms.values():
            vmm.set_capabilities(**self.capabilities)

    def is_over(self, run):
        return run.has_ended(self.side)

    # The end.

    def resolve(self, run):
        run.vmms[self.side].command("migrate-resolve", {"outcome": "discard" if os.path.exists(run.file) else "run", "fenced": True})

    def settle(self, run):
        """Its last status; "doubt>" before it if an operator had to help."""
        word = ""
        doubt_over = time.monotonic() + DOUBT_SECONDS * SLOW

        def over():
            nonlocal word
            status, doubt = checks.status_of(run, self.side)
            if doubt and not word and time.monotonic() > doubt_over:
                self.resolve(run)
                word = "doubt>"
            return not doubt and status in ("none", *ENDED)

        try:
            wait_until(over, "it ends", SETTLE_SECONDS, every=0.02)
        except AssertionError as e:
            raise AssertionError(f"{e}: {checks.status_of(run, self.side)}") from None
        return word

    def check_side(self, run, before):
        """Nothing is left of it but its history."""
        checks.nothing_is_left(run, None, before)
        status = checks.status_of(run, self.side)[0]
        said = [e["status"] for e in run.daemons[self.side].qmp.command("query-migration-history", {"guest": "g"})]
        run.t.check(all(s in ENDED for s in said), f"the history has one that did not end: {said}")
        run.t.check(status == "none" or said[:1] == [status], f"the history says {said}, and query-migrate {status}")
        left = sorted(set(os.listdir(run.directory)) - {"guest", "filler"})
        run.t.check(not left, f"left beside the file: {left}")

    def well(self, run, vmm):
        run.t.assert_memory_verified(vmm, rounds=2 * vmm.mem.detail(1))
        run.t.check(vmm.mem.map[FILLED] == b"x" * (FILLED.stop - FILLED.start), "what was filled in is there")

    def without_fault(self, run, side):
        """Every other worker of this daemon would come to the point, too."""
        if run.side_of(run.who) == side and run.fault.action != "stop":
            run.kill_daemon(side)
            run.succeed_daemon(side)

    def restore(self, run):
        """Into the VMM that waits at the target, or into another one."""
        self.without_fault(run, "target")
        dst = run.vmms["target"]
        if not dst.running() or checks.status_of(run, "target")[0] != "none":  # one that failed is about to end
            dst = checks.fresh_target(run, "target")
        dst.set_capabilities(**{k: v for k, v in self.capabilities.items() if k != "background_snapshot"})
        dst.command("migrate-incoming", {"uri": f"file:{run.file}", "exit-on-error": False})
        info = run.t.wait_end(dst)
        run.t.check(info["status"] == "completed", f"the file can be restored: {info}")
        self.well(run, dst)


class Save(File):
    def go(self, run):
        run.command("source", "migrate", {"uri": f"file:{run.file}"})

    def look_through(self, run, before):
        t, src = run.t, run.vmms["source"]
        word = self.settle(run)
        runs, saved = checks.runs_now(src), os.path.exists(run.file)
        status = checks.status_of(run, "source")[0]
        t.check(not (runs and saved), "the guest runs, and is in a file")
        t.check(runs or saved or run.killed_vmm == "source", f"the guest is nowhere: {status}")
        t.check(saved == (status == "completed") or run.killed_vmm == "source", f"{status}, and the file is {saved}")
        if runs:
            self.well(run, src)
        self.check_side(run, before)
        if runs:
            self.save_again(run)
            saved = True
        if saved:
            self.restore(run)
        return word + ("source" if runs else "file" if saved else "died with its VMM")

    def save_again(self, run):
        self.without_fault(run, "source")
        src = run.vmms["source"]
        src.command("migrate", {"uri": f"file:{run.file}"})
        info = run.t.wait_end(src)
        run.t.check(info["status"] == "completed", f"it can be saved afterwards: {info}")


class SaveMapped(Save):
    capabilities = {"mapped_ram": True}


class Snapshot(Save):
    capabilities = {"background_snapshot": True}

    def prepare(self, run):
        super().prepare(run)
        run.vmms["target"].set_capabilities(background_snapshot=False)

    def look_through(self, run, before):
        t, src = run.t, run.vmms["source"]
        word = self.settle(run)
        saved, status = os.path.exists(run.file), checks.status_of(run, "source")[0]
        if run.killed_vmm == "source":
            word += "died with its VMM"
        else:
            t.check(src.running(), "the VMM runs on")
            t.assert_runs(src)
            self.well(run, src)
            t.check(saved == (status == "completed"), f"{status}, and the file is {saved}")
            word += "source"
        self.check_side(run, before)
        if not saved and run.killed_vmm != "source":
            self.save_again(run)
        if os.path.exists(run.file):
            self.restore(run)
        return word + (" and file" if saved else "")


class Restore(File):
    side = "target"

    def prepare(self, run):
        super().prepare(run)
        src = run.vmms["source"]
        src.command("migrate", {"uri": f"file:{run.file}"})
        info = run.t.wait_end(src)
        run.t.check(info["status"] == "completed", f"the file is written: {info}")
        run.digest = digest(run.file)
        checks.end_vmm(src)
        wait_until(lambda: not run.workers("source") and not checks.is_attached(src.daemon), "only the file is left")

    def go(self, run):
        run.command("target", "migrate-incoming", {"uri": f"file:{run.file}", "exit-on-error": False, **self.incoming})

    def resolve(self, run):
        raise AssertionError("the target is in doubt")

    def look_through(self, run, before):
        t, dst = run.t, run.vmms["target"]
        self.settle(run)
        runs, status = checks.runs_now(dst), checks.status_of(run, "target")[0]
        if run.killed_vmm != "target":
            t.check(runs == (status == "completed"), f"{status}, and the guest {'runs' if runs else 'does not run'}")
        if runs:
            self.well(run, dst)
        self.check_side(run, before)
        t.check(digest(run.file) == run.digest, "the file is as it was")
        if not runs:
            self.restore(run)
        return "target" if runs else "file"


class RestoreMapped(Restore):
    capabilities = {"mapped_ram": True}


class Lazy(RestoreMapped):
    incoming = {"lazy": True}

    def prepare(self, run):
        super().prepare(run)
        run.vmms["target"].set(max_postcopy_bandwidth=BACKGROUND)


SCENARIOS = {
    "save": Save(),
    "save-mapped": SaveMapped(),
    "snapshot": Snapshot(),
    "restore": Restore(),
    "restore-mapped": RestoreMapped(),
    "lazy": Lazy(),
}

PLACES = {
    "file.created": [("save", "source")],
    "file.write": [("save", "source"), ("snapshot", "source")],
    "file.sync": [("save", "source"), ("snapshot", "source")],
    "file.synced": [("save", "source"), ("save-mapped", "source")],
    "file.durable": [("save", "source"), ("snapshot", "source")],
    "file.rename": [("save", "source"), ("snapshot", "source")],
    "file.renamed": [("save", "source"), ("snapshot", "source")],
    "file.released": [("save", "source"), ("save-mapped", "source")],
    **every("save-mapped", "source", "file.page-write", "file.bitmap-write"),
    "file.read": [("restore", "target"), ("lazy", "target")],
    "file.bitmap-read": [("restore-mapped", "target"), ("lazy", "target")],
    "file.page-read": [("restore-mapped", "target"), ("lazy", "target")],
    "file.journal-write": [("save", "source"), ("precopy", "source"), ("precopy", "target")],
    "file.record-write": [("save", "source"), ("precopy", "source"), ("precopy", "target")],

    **every("snapshot", "source", "snapshot.watching", "snapshot.paused", "snapshot.protected", "snapshot.resumed",
            "snapshot.page-copied", "snapshot.memory-sent", "snapshot.state-sent"),
    **every("lazy", "target", "lazy.registered", "lazy.started", "lazy.page-read", "lazy.all-here", "lazy.ended"),
}
