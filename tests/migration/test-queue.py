#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""At most so many migrations at once: the others wait for their turn, by priority, then in the order of their coming."""

import os
import signal
import time

import migdtest
from migd_process import wait_until

EVENTS = [{"capability": "events", "state": True}]


class Host:
    """A daemon with guests, and one that they go to."""

    def __init__(self, t, n, outgoing=None, incoming=None, **changes):
        self.t = t
        self.a, self.b = t.daemon("a"), t.daemon("b")
        options = {"working_set": "4M", **changes}
        names = [f"g{i}" for i in range(n)]
        self.sources = [t.vmm(self.a, name=name, **options) for name in names]
        self.targets = [t.incoming(self.b, options, name=name) for name in names]
        for src in self.sources:
            t.assert_runs(src)
            if n > 10:
                src.command("stop")  # so many that run leave nobody else the processors
        if outgoing is not None:
            self.set(max_outgoing=outgoing)
        if incoming is not None:
            self.b.qmp.command("host-set-parameters", {"max-incoming": incoming})

    def set(self, **parameters):
        self.a.qmp.command("host-set-parameters", {k.replace("_", "-"): v for k, v in parameters.items()})

    def start(self, i, priority=0, slow=True):
        if slow:
            self.t.make_slow(self.sources[i])
        self.sources[i].command("migrate", {"uri": self.t.listen(self.targets[i]), "priority": priority})

    def positions(self, side="sources"):
        """Of each its place in the queue, or None."""
        return [vmm.migration().get("queue", {}).get("position") for vmm in getattr(self, side)]

    def expect(self, positions, what, side="sources"):
        try:
            wait_until(lambda: self.positions(side) == positions, what, timeout=10)
        except AssertionError:
            raise AssertionError(f"{what}: the places are {self.positions(side)}, not {positions}") from None

    def finish(self, which):
        for i in which:
            self.t.speed_up(self.sources[i])
        for i in which:
            info = self.t.wait_end(self.sources[i])
            self.t.check(info["status"] == "completed", f"g{i}: {info}")
            self.t.assert_only_runs(self.targets[i], self.sources[i])


def untouched(t, vmm):
    """Nobody opened a migration channel to its library, and it goes on."""
    t.check(vmm.worker() is None, f"{vmm.name} has a worker")
    t.check("migration" not in vmm.log_text(), f"{vmm.name} was spoken to: {vmm.log_text()}")
    t.assert_runs(vmm)


def test_order(t):
    host = Host(t, 5, outgoing=1)
    for src in host.sources:
        src.command("migrate-set-capabilities", {"capabilities": EVENTS})
    host.a.drop_session()
    host.start(0)
    t.wait_active(host.sources[0])
    for i, priority in (1, 0), (2, 3), (3, 0), (4, -1):
        host.start(i, priority, slow=False)
    host.expect([None, 2, 1, 3, 4], "by priority, then by arrival")
    waiting = host.a.qmp.command("query-migrations", {"waiting": True})
    t.check([m["guest"] for m in waiting] == ["g2", "g1", "g3", "g4"], f"in the order of their turns: {waiting}")
    listed = {m["guest"]: m.get("queue") for m in host.a.qmp.command("query-migrations")}
    t.check(listed["g0"] is None and listed["g3"] == {"position": 3, "length": 4}, f"all of them: {listed}")
    for src in host.sources[1:]:
        info = src.migration()
        t.check(info["status"] == "setup" and info["queue"]["length"] == 4, f"{info}")
        untouched(t, src)
    # A place changes with the priority.
    host.sources[4].command("migrate-set-priority", {"priority": 1})
    host.expect([None, 3, 1, 4, 2], "another priority")
    t.check(t.assert_refused(host.sources[1], "migrate", {"uri": "tcp:127.0.0.1:1"}, "in progress"), "a second one")
    # One leaves the queue.
    before = time.monotonic()
    host.sources[3].command("migrate_cancel")
    t.check(host.sources[3].status() == "cancelled", f"at once: {host.sources[3].migration()}")
    t.check(time.monotonic() - before < 5, "a cancel takes long")
    host.expect([None, 3, 1, None, 2], "one was cancelled")
    untouched(t, host.sources[3])
    # Then one by one, in the order of the queue, as the events tell.
    host.finish([0, 1, 2, 4])
    told = []
    while len([w for w in told if w[1] == "completed"]) < 4:
        event = host.a.qmp.wait_event("MIGRATION", timeout=20)
        told.append((event["data"]["guest"], event["data"]["status"]))
    ends = [guest for guest, status in told if status == "completed"]
    t.check(ends == ["g0", "g2", "g4", "g1"], f"the order was {ends}")
    for guest in "g1", "g2", "g4":
        t.check([s for g, s in told if g == guest].count("setup") == 1, f"{guest}: `setup` is told once: {told}")
    for a, b in ("g0", "g2"), ("g2", "g4"), ("g4", "g1"):
        t.check(told.index((a, "completed")) < told.index((b, "active")), f"{b} began before {a} was over: {told}")
    # The queue's time is not the migration's.
    t.check(host.sources[1].migration()["total-time"] < 5000, f"{host.sources[1].migration()}")


def test_limit_changes(t):
    host = Host(t, 4, outgoing=1)
    for i in range(4):
        host.start(i)
    host.expect([None, 1, 2, 3], "one runs")
    host.set(max_outgoing=2)
    host.expect([None, None, 1, 2], "two may run")
    host.set(max_outgoing=1)
    time.sleep(0.3)
    host.expect([None, None, 1, 2], "a lower limit stops nothing that runs")
    host.sources[0].command("migrate_cancel")
    t.wait_end(host.sources[0])
    time.sleep(0.3)
    host.expect([None, None, 1, 2], "and lets nothing begin")
    host.set(max_outgoing=0)
    host.expect([None] * 4, "no limit")
    host.finish([1, 2, 3])
    t.assert_untouched(host.sources[0])


def test_every_end_frees_the_turn(t):
    """Failure at once, a killed worker, a destination that is gone, a cancel."""
    host = Host(t, 4, outgoing=1)
    host.start(0)
    t.wait_active(host.sources[0])
    for i in 1, 2, 3:
        host.start(i)
    os.kill(host.sources[0].worker(), signal.SIGKILL)
    t.assert_failed(host.sources[0], "worker")
    t.wait_active(host.sources[1])
    host.expect([None, None, 1, 2], "the worker was killed")
    host.targets[1].kill()
    t.assert_failed(host.sources[1])
    t.wait_active(host.sources[2])
    host.sources[2].command("migrate_cancel")
    t.wait_end(host.sources[2])
    t.wait_active(host.sources[3])
    # Nobody listens there: it fails as soon as it has its turn.
    host.sources[0].command("migrate", {"uri": "tcp:127.0.0.1:1"})
    host.expect([1, None, None, None], "it waits")
    host.finish([3])
    t.assert_failed(host.sources[0], "connect")
    for i in 0, 1, 2:
        t.assert_untouched(host.sources[i])


def test_in_doubt(t):
    """Who only waits for its peer's word holds up nobody."""
    host = Host(t, 2, outgoing=1)
    link = t.proxy(int(t.listen(host.targets[0]).rpartition(":")[2]),
                   rule=lambda d, n, count: "cut-before" if (d, n) == ("out", "cmd-commit") else None)
    t.make_slow(host.sources[0])
    host.sources[0].command("migrate", {"uri": link.uri})
    t.wait_active(host.sources[0])
    host.start(1)
    host.expect([None, 1], "one runs")
    t.speed_up(host.sources[0])
    wait_until(lambda: host.sources[0].migration().get("handover", {}).get("in-doubt"), "the source is in doubt")
    t.wait_active(host.sources[1])
    host.finish([1])
    t.check(host.sources[0].migration()["handover"]["in-doubt"], "it still is")
    link.heal()
    t.assert_failed(host.sources[0])
    t.assert_only_runs(host.sources[0], host.targets[0])


def test_guest_is_gone(t):
    host = Host(t, 3, outgoing=1)
    for i in range(3):
        host.start(i)
    host.expect([None, 1, 2], "one runs")
    host.sources[1].kill()
    text = t.assert_failed(host.sources[1], "VMM", "g1")
    t.check("ended" in text or "gone" in text, text)
    host.expect([None, None, 1], "the next one moves up")
    host.finish([0, 2])


def test_streams_on_this_host(t):
    """Files and commands are opened when their turn comes, descriptors taken at once; preflights do not wait."""
    host = Host(t, 4, outgoing=1)
    host.start(0)
    t.wait_active(host.sources[0])
    path = os.path.join(t.dir, "saved")
    host.sources[1].command("stop")
    host.sources[1].command("migrate", {"uri": f"file:{path}"})
    t.check(not os.path.exists(path), "it is not opened yet")
    with open(os.path.join(t.dir, "by-descriptor"), "wb") as f:
        host.sources[2].command("stop")
        host.a.qmp.command("getfd", {"fdname": "f"}, fds=[f.fileno()])
        host.sources[2].command("migrate", {"uri": "fd:f"})
    host.a.drop_session()
    uri = t.listen(host.targets[3])
    host.sources[3].command("migrate", {"uri": uri, "preflight": "only"})
    wait_until(lambda: host.sources[3].migration().get("preflight", {}).get("result") == "pass", "the sides are compared")
    host.expect([None, 1, 2, None], "a preflight does not wait")
    t.check(t.assert_refused(host.sources[3], "migrate", {"uri": "fd:none"}, "not found"), "a wrong name")
    host.finish([0])
    for i, name in (1, "saved"), (2, "by-descriptor"):
        t.check(t.wait_end(host.sources[i])["status"] == "completed", f"{host.sources[i].migration()}")
        t.check(os.path.getsize(os.path.join(t.dir, name)) > 1 << 20, f"{name} is empty")


def test_restart(t):
    host = Host(t, 6, outgoing=1)
    for i, priority in (0, 0), (1, 0), (2, 5), (3, 0), (4, 0):
        host.start(i, priority, slow=i != 2)
    t.wait_active(host.sources[0])
    host.sources[3].command("migrate-set-priority", {"priority": 2})
    host.expect([None, 3, 1, 2, 4, None], "the queue")
    with open(os.path.join(t.dir, "f"), "wb") as f:
        host.sources[4].command("migrate_cancel")
        host.a.qmp.command("getfd", {"fdname": "f"}, fds=[f.fileno()])
        host.sources[4].command("migrate", {"uri": "fd:f", "allow-weak-handover": True})
    path = os.path.join(t.dir, "saved")
    host.sources[5].command("migrate", {"uri": f"file:{path}", "priority": -1})
    for sig in signal.SIGTERM, signal.SIGKILL:
        host.a.kill(sig)
        if sig == signal.SIGKILL:
            host.sources[1].kill()
        host.a = t.daemon("a")
        for src in host.sources:
            src.daemon = host.a
            if src.running():
                src.wait_attached()
        if sig == signal.SIGTERM:
            host.expect([None, 3, 1, 2, None, 4], "the queue after a restart")
            t.assert_failed(host.sources[4], "descriptor 'f'")
    t.assert_failed(host.sources[1], "VMM")
    host.expect([None, None, 1, 2, None, 3], "the queue after a crash")
    t.check(host.sources[0].status() == "active", f"what ran goes on: {host.sources[0].migration()}")
    t.check(host.sources[3].migration()["priority"] == 2, f"{host.sources[3].migration()}")
    untouched(t, host.sources[3])
    host.finish([0, 2, 3])
    t.check(t.wait_end(host.sources[5])["status"] == "completed", f"{host.sources[5].migration()}")
    t.check([n for n in os.listdir(t.dir) if "saved" in n] == ["saved"], f"{os.listdir(t.dir)}")
    path = os.path.join(host.a.state_dir, "migrations")
    wait_until(lambda: os.listdir(path) == [], "nothing is left to take over")


def test_incoming(t):
    """The destination lets the sources wait, whose guests run on; one may leave, and the next one has its turn."""
    host = Host(t, 4, incoming=1)
    host.start(0)
    t.wait_active(host.sources[0])
    for i in 1, 2, 3:
        host.start(i)
        host.expect([None] + list(range(1, i + 1)) + [None] * (3 - i), "who came later waits", "targets")
    for vmm in host.sources[1:] + host.targets[1:]:
        t.check(vmm.status() == "setup", f"{vmm.label}: {vmm.migration()}")
        t.check(vmm.migration().get("handover") is None, f"nothing began: {vmm.migration()}")
    for src in host.sources:
        t.assert_runs(src)
    # Longer than anybody waits for an answer in the opening.
    time.sleep(13)
    t.check([s.status() for s in host.sources] == ["active"] + ["setup"] * 3, f"{[s.migration() for s in host.sources]}")
    # A source that leaves is no loss: its destination goes on listening, and can be asked again.
    host.sources[1].command("migrate_cancel")
    t.check(t.wait_end(host.sources[1], timeout=5)["status"] == "cancelled", f"{host.sources[1].migration()}")
    host.expect([None, None, 1, 2], "the next ones move up", "targets")
    t.check(host.targets[1].status() == "setup", f"{host.targets[1].migration()}")
    address = host.targets[1].migration()["socket-address"][0]
    host.sources[1].command("migrate", {"uri": f"tcp:127.0.0.1:{address['port']}"})
    host.expect([None, 3, 1, 2], "it comes again", "targets")
    # A destination that is given up.
    host.targets[3].command("migrate_cancel")
    t.check(t.wait_end(host.targets[3])["status"] == "cancelled", f"{host.targets[3].migration()}")
    t.assert_failed(host.sources[3])
    host.expect([None, 2, 1, None], "one less", "targets")
    host.finish([0, 2, 1])
    t.assert_untouched(host.sources[3])


def test_incoming_restart(t):
    """The next daemon of the destination goes on with its queue; who has its turn goes on without one."""
    host = Host(t, 3, incoming=1)
    for i in range(3):
        host.start(i)
        wait_until(lambda: host.targets[i].status() == "active" or host.positions("targets")[i], "its source is there")
    host.expect([None, 1, 2], "two wait", "targets")
    host.b.kill(signal.SIGKILL)
    time.sleep(1)
    host.b = t.daemon("b")
    for dst in host.targets:
        dst.daemon = host.b
        dst.wait_attached()
    wait_until(lambda: sorted(p or 0 for p in host.positions("targets")) == [0, 1, 2], "they ask again")
    t.check(host.positions("targets")[0] is None and host.targets[0].status() == "active", "what ran goes on")
    host.b.qmp.command("host-set-parameters", {"max-incoming": 3})
    host.expect([None] * 3, "all may come", "targets")
    host.finish(range(3))


def test_incoming_from_a_file(t):
    """A stream that nobody answers waits unread."""
    host = Host(t, 2, incoming=1)
    path = os.path.join(t.dir, "saved")
    host.sources[1].command("migrate", {"uri": f"file:{path}"})
    t.check(t.wait_end(host.sources[1])["status"] == "completed", f"{host.sources[1].migration()}")
    host.start(0)
    t.wait_active(host.sources[0])
    host.targets[1].command("migrate-incoming", {"uri": f"file:{path}"})
    host.expect([None, 1], "the file waits", "targets")
    host.finish([0])
    t.check(t.wait_end(host.targets[1])["status"] == "completed", f"{host.targets[1].migration()}")
    t.assert_runs(host.targets[1])


def test_many(t):
    """Twenty at once, three at a time."""
    host = Host(t, 20, outgoing=3, incoming=2, memory="24M", working_set="64K")
    for i in range(20):
        host.start(i, priority=i % 3, slow=False)
    most = 0

    def over():
        nonlocal most
        listed = {m["guest"]: m for m in host.a.qmp.command("query-migrations")}
        t.check(len(listed) == 20 and all(m["direction"] == "outgoing" for m in listed.values()), f"{listed}")
        runs = [m for m in listed.values() if m["status"] not in migdtest.ENDED and "queue" not in m]
        t.check(len(runs) <= 3, f"{len(runs)} run: {runs}")
        most = max(most, len(runs))
        arriving = [m for m in host.b.qmp.command("query-migrations") if m["status"] in ("active", "device")]
        t.check(len(arriving) <= 2, f"{len(arriving)} arrive: {arriving}")
        return all(m["status"] == "completed" for m in listed.values())

    wait_until(over, "all have moved", timeout=100)
    t.check(most >= 2, f"at most {most} ran at once")
    for dst in host.targets:
        dst.command("cont")
        t.assert_runs(dst)
        dst.kill()
    t.check(all(m["transferred"] > 0 for m in host.b.qmp.command("query-migrations")), "what came is counted")


migdtest.main()
