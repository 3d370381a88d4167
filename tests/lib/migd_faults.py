# SPDX-License-Identifier: Apache-2.0
"""
The fault matrix: each fault at each named point of the protocols (base/fault.h), in a migration of a real guest.

A cell is one such migration. The process that gets to the point is stopped there by MIGD_FAULT; then the fault strikes whomever it
strikes (migd_fault_kinds.py), the process goes on, and what came of it is looked through (migd_fault_checks.py).

    PLACES[point] = (scenario, who)     which migration gets there (migd_fault_scenarios.py), and who of WHO does

A point that is to be reached in several ways has several of them.
"""

import contextlib
import os
import re
import signal
import threading
import time

import migd_fault_checks
import migd_fault_files
import migd_fault_scenarios
import migd_fault_streams
import migd_process
import migd_qmp
from migd_fault_kinds import KINDS
from migd_fault_resources import RESOURCES
from migd_process import SLOW, SOURCE_DIR, wait_until
from migd_qmp import QmpClosed, QmpError

PARTS = (migd_fault_scenarios, migd_fault_streams, migd_fault_files)
SCENARIOS = {name: scenario for part in PARTS for name, scenario in part.SCENARIOS.items()}
PLACES = {point: places for part in PARTS for point, places in part.PLACES.items()}
FAULTS = KINDS + RESOURCES
# Points that have tests of their own.
ELSEWHERE = {name: "migration/test-cpr-transfer" for name in ("cpr.memory-described", "cpr.memory-taken")}

# Whose environment has MIGD_FAULT: a daemon (its workers have it, too), or a VMM.
WHO = ("source", "target", "source-vmm", "target-vmm")
FOLDERS = ("attach", "base", "daemon", "engine", "guest", "qmp", "transport")
REACH_SECONDS = 60
OVER_SECONDS = 5  # for what comes after the end: a worker that says so, and its daemon that hears it
ENDED = ("completed", "failed", "cancelled")
STOPPED = ("T", "t")


def points_in_sources(kinds="POINT|FAILS"):
    """{name: "file:line"} of all FAULT_POINT() and FAULT_FAILS()."""
    found = {}
    for folder in FOLDERS:
        for parent, _, names in os.walk(os.path.join(SOURCE_DIR, folder)):
            for path in (os.path.join(parent, n) for n in names if n.endswith(".c")):
                with open(path) as f:
                    for n, line in enumerate(f, 1):
                        for name in re.findall(rf'FAULT_(?:{kinds})\("([^"]+)"\)', line):
                            here = f"{os.path.relpath(path, SOURCE_DIR)}:{n}"
                            if name in found:
                                raise AssertionError(f"fault point {name} is at {found[name]} and at {here}")
                            found[name] = here
    return found


def check_table():
    """Every point has a place, every place a point."""
    points, unknown = points_in_sources(), []
    for name in sorted(set(points) ^ (set(PLACES) | set(ELSEWHERE))):
        unknown.append(f"{name} ({points[name]}) has no place in PLACES" if name in points else
                       f"{name} of PLACES is nowhere in the sources")
    for name, places in PLACES.items():
        unknown += [f"{name}: {who} is none of {WHO}" for _, who in places if who not in WHO]
    if unknown:
        raise AssertionError("; ".join(unknown))


def rows():
    """All (point, scenario, who)."""
    return [(point, scenario, who) for point, places in PLACES.items() for scenario, who in places]


def state_of(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


class NotReached(AssertionError):
    """Nobody came to the point."""


class Run:
    """One cell: its processes, and what was done to them."""

    def __init__(self, t, point, scenario, who, fault):
        self.t = t
        self.point, self.who, self.fault = point, who, fault
        self.scenario = SCENARIOS[scenario]
        self.daemons = {}
        self.vmms = {"source": None, "target": None}
        self.link = None
        self.killed_vmm = None
        self.orphans = {}          # side: workers of a killed daemon
        self._dead = set()         # sides whose daemon was killed
        self._going = None
        self._watching = None
        self._over = threading.Event()

    # Making it.

    def env(self, who):
        """The environment of one of WHO."""
        asked = [self.scenario.env(self, who), os.environ.get("MIGD_FAULT_ALSO")]
        if self.scenario.before and self.scenario.before[1] == who:
            asked.append(f"{self.scenario.before[0]}=stop")
        asked = [a for a in asked if a]
        return {"MIGD_FAULT": ",".join(asked)} if asked else None

    def asked(self, who):
        return f"{self.point}={self.fault.action}" if self.who == who else None

    def pair(self, **options):
        """Daemons, a guest, a VMM that waits for it, and a link to where that will be found."""
        for side, name in (("source", "a"), ("target", "b")):
            self.daemons[side] = self.t.daemon(name, env=self.env(side))
        self.options = options
        self.vmms["source"] = self.t.vmm(self.daemons["source"], env=self.env("source-vmm"), **options)
        self.vmms["target"] = self.t.incoming(self.daemons["target"], options, env=self.env("target-vmm"))
        self.t.assert_runs(self.vmms["source"])

    # The two sides.

    def side_of(self, who):
        return who.split("-")[0]

    def workers(self, side):
        """The pids of its workers, those of a killed daemon included."""
        mine = self.orphans.get(side, [])
        return [p for p in mine if migd_process.is_running(p)] + self.daemons[side].workers()

    def kill_daemon(self, side):
        # Orphans become the test's children; which of them are whose is known only now.
        self.orphans[side] = self.workers(side)
        self._dead.add(side)
        self.daemons[side].kill()
        self.daemons[side].drop_session()

    def succeed_daemon(self, side, env=None, ready=True):
        daemon = self.t.daemon(self.daemons[side].name, env=env, ready=ready)
        self._dead.discard(side)
        self.daemons[side] = daemon
        for vmm in self.vmms.values():
            if vmm and vmm.daemon.name == daemon.name:
                vmm.daemon = daemon
        vmm = self.vmms[side]
        if vmm and vmm.running() and ready:
            wait_until(lambda: daemon.guest(vmm.name) or not vmm.running(), f"{vmm.label} attaches again")

    def command(self, side, name, arguments=None):
        """From the scenario's thread: the daemon may be stopped, or killed, meanwhile. False: it refused, or is gone."""
        try:
            with self.daemons[side].connect() as qmp:
                qmp.command(name, {"guest": "g", **(arguments or {})}, timeout=REACH_SECONDS * SLOW)
            return True
        except (QmpError, QmpClosed, OSError):
            return False

    def log_text(self):
        """Of who could get to the point."""
        side = self.side_of(self.who)
        return (self.vmms if self.who.endswith("-vmm") else self.daemons)[side].log_text()

    def has_ended(self, *sides):
        """Whether a migration ended there. A daemon that is stopped, or gone, does not say so."""
        with contextlib.suppress(QmpError, QmpClosed, OSError):
            for side in sides:
                with migd_qmp.Qmp(self.daemons[side].qmp_path, timeout=1) as qmp:
                    if qmp.command("query-migrate", {"guest": "g"}).get("status") not in ENDED:
                        return False
            return True
        return False

    def can_fail(self):
        """Whether the point is one that fails by itself."""
        return self.point in points_in_sources("FAILS")

    # Getting there.

    def stoppable(self):
        """The pids of all that could be stopped at a point."""
        # Not running(): two threads must not wait for the same child.
        pids = [vmm.pid for vmm in self.vmms.values() if vmm and migd_process.is_running(vmm.pid)]
        for side, daemon in self.daemons.items():
            if side not in self._dead:
                pids += [daemon.pid, *daemon.greeters()]
            pids += self.workers(side)
        return pids

    def stopped(self):
        return [pid for pid in self.stoppable() if state_of(pid) in STOPPED]

    def go(self):
        """Give the scenario's commands, in a thread of their own."""
        self._going = threading.Thread(target=self.scenario.go, args=(self,), daemon=True)
        self._going.start()

    def await_stop(self, point):
        """The pid of who is stopped at the point."""
        deadline, over = time.monotonic() + REACH_SECONDS * SLOW, False
        while not (pids := self.stopped()):
            if not over and not self._going.is_alive() and self.scenario.is_over(self):
                deadline, over = time.monotonic() + OVER_SECONDS * SLOW, True
            if time.monotonic() > deadline:
                raise NotReached(f"{point} was not reached")
            time.sleep(0.005)
        return pids[0]

    def go_on(self, pid):
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass

    def keep_going(self):
        """Successors get to the same point, and nobody waits for them."""
        def watch():
            while not self._over.wait(0.02):
                for pid in self.stopped():
                    self.go_on(pid)
        self._watching = threading.Thread(target=watch, daemon=True)
        self._watching.start()

    # The cell.

    def strike(self):
        """The fault, at the point. The reason why there was nothing to strike, or None."""
        self.go()
        if self.scenario.before:
            pid = self.await_stop(self.scenario.before[0])
            self.scenario.meanwhile(self, pid)
            self.go_on(pid)
        if self.fault.action != "stop":
            self.keep_going()
            wait_until(lambda: f"fault point {self.point}," in self.log_text(), f"{self.point} is reached", REACH_SECONDS)
            return None
        pid = self.await_stop(self.point)
        nothing = self.fault.apply(self, pid)
        self.go_on(pid)
        self.keep_going()
        return nothing

    def play(self):
        """The cell's word in the table."""
        nothing = self.fault.prepare(self)
        if nothing:
            return f"- {nothing}"
        self.scenario.prepare(self)
        before = migd_fault_checks.Before(self)
        try:
            nothing = self.strike()
            if nothing:
                return f"- {nothing}"
            self.fault.wait(self)
            self.fault.undo(self)
            self._going.join()
            return self.scenario.look_through(self, before)
        finally:
            self._over.set()
            if self._watching:
                self._watching.join()


def play(t, point, scenario, who, fault):
    """One cell; raises what is wrong."""
    run = Run(t, point, scenario, who, fault)
    t.cleanup.callback(run._over.set)
    return run.play()


def faults(pattern=""):
    return [f for f in FAULTS if re.search(pattern, f.name)]
