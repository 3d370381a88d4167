# SPDX-License-Identifier: Apache-2.0
"""A whole host of small guests: one daemon that has many, and many migrations at once."""
import os
import shutil
import tempfile
import threading
import time
from contextlib import contextmanager

from lib import base, memory, pair, proc, qmp

GUESTS = 500
MIGRATIONS = 50
MIB = 1 << 20
GUEST_BYTES = 16 * MIB  # of the guests that only are there
MOVED_BYTES = 64 * MIB  # of those that move, all in use
ATTACH_TIMEOUT_S = 120
PAUSE_S = 0.001  # between two questions
IDLE_S = 5
DAEMON_NICE = -10
FIFO_PRIORITY = 1


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def _ask_first():
    """The one who asks is no part of what is measured: it never waits for a CPU, if it may say so."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    except PermissionError:
        pass


def _go_first(pid):
    """What migd.service does for a daemon: a session of its own, whose share of the CPUs does not shrink with each worker's."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, DAEMON_NICE)
        with open(f"/proc/{pid}/autogroup", "w") as f:
            f.write(str(DAEMON_NICE))
    except (PermissionError, FileNotFoundError):
        pass


class Asker:
    """Asks the daemon about one guest, again and again, from a thread and a session of its own."""

    def __init__(self, session, guest):
        self.session = session
        self.guest = guest
        self.latencies_ms = []
        self._over = False
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        _ask_first()
        while not self._over:
            began = time.monotonic()
            self.session.execute("query-status", {"guest": self.guest})
            self.latencies_ms.append((time.monotonic() - began) * 1e3)
            time.sleep(PAUSE_S)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over = True
        self._thread.join()


class Host:
    """A daemon and VMMs, in DIRECTORY; `with` ends them all."""

    def __init__(self, name, directory, context, sector):
        self.name = name
        self.directory = directory
        self.programs = context.programs
        self.sector = sector
        self.processes = []
        os.makedirs(self.path("state"))
        self.daemon = self._run("migd", [
            "setsid", self.programs["migd"], "--qmp", self.path("qmp"), "--attach", self.path("attach"), "--state-dir", self.path("state"),
            "--foreground", "--log-level", "warning"])
        self.session = self.connect()
        _go_first(self.daemon.pid)  # it has its session by now

    def path(self, what):
        return f"{self.directory}/{self.name}.{what}"

    def _run(self, name, argv):
        self.processes.append(proc.Process(argv, self.path(f"{name}.log")))
        return self.processes[-1]

    def connect(self):
        return qmp.Qmp(self.path("qmp"), f"migd's {self.name}", self.daemon.last_words)

    def start_guests(self, n, size, *more):
        for i in range(n):
            self._run(f"vmm{i}", [
                self.programs["migd-vmm"], "--name", f"g{i}", "--attach", self.path("attach"), "--memory", f"{size // MIB}M",
                "--cpus", "1", "--memory-file", self.path(f"ram{i}"), "--boot-sector", self.sector, *more])
        deadline = time.monotonic() + ATTACH_TIMEOUT_S
        while sum(g["attached"] for g in self.session.execute("query-guests")) < n:
            if time.monotonic() > deadline:
                raise pair.MigrationError(f"{self.name}: not all of {n} guests attached within {ATTACH_TIMEOUT_S} s")
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.popen.kill()
        for process in self.processes:
            process.end()


class HostScenario(base.Scenario):
    sides = ("ours",)

    def prepare(self):
        pass

    @contextmanager
    def hosts(self, *names):
        directory = tempfile.mkdtemp(prefix="host-", dir=self.context.directory)
        made = []
        try:
            for name in names:
                made.append(Host(name, directory, self.context, self.context.images.boot_sector(0, "dirty")))
            yield made
        finally:
            for host in made:
                host.__exit__()
            shutil.rmtree(directory)


class Guests(HostScenario):
    """So many guests attached to one daemon: how long they take, what a question then costs, and what the daemon does idle."""

    def ours(self):
        with self.hosts("a") as (a,):
            began = time.monotonic()
            a.start_guests(GUESTS, GUEST_BYTES)
            seconds = time.monotonic() - began
            with Asker(a.connect(), f"g{GUESTS // 2}") as asker:
                time.sleep(2)
            before = proc.cpu_s(a.daemon.pid)
            time.sleep(IDLE_S)
            return {
                "guests": len([g for g in a.session.execute("query-guests") if g["attached"]]),
                "attach_s": seconds,
                "p99_ms": percentile(asker.latencies_ms, 99),
                "idle_cpu_s": proc.cpu_s(a.daemon.pid) - before,
                "daemon_mib": proc.status_kib(a.daemon.pid, "RssAnon") / 1024,
            }


class Fifty(HostScenario):
    """So many migrations at once from one daemon to another, and somebody who asks the first one all the while."""

    def prepare(self):
        memory.random_file(self.contents, MOVED_BYTES)

    def ours(self):
        with self.hosts("a", "b") as (a, b):
            a.start_guests(MIGRATIONS, MOVED_BYTES)
            b.start_guests(MIGRATIONS, MOVED_BYTES, "--incoming")
            for i in range(MIGRATIONS):
                memory.copy_contents(self.contents, a.path(f"ram{i}"))
            uris = [self._listen(b, f"g{i}") for i in range(MIGRATIONS)]
            with Asker(a.connect(), "g0") as asker:
                began = time.monotonic()
                for i, uri in enumerate(uris):
                    a.session.execute("migrate-set-parameters", {"guest": f"g{i}", "max-bandwidth": 0})
                    a.session.execute("migrate", {"guest": f"g{i}", "uri": uri})
                self._wait(a)
                seconds = time.monotonic() - began
            return {"p50_ms": percentile(asker.latencies_ms, 50), "p99_ms": percentile(asker.latencies_ms, 99),
                    "asked": len(asker.latencies_ms), "seconds": seconds,
                    "gbps": MIGRATIONS * MOVED_BYTES / seconds / base.GB}

    @staticmethod
    def _listen(host, guest):
        host.session.execute("migrate-incoming", {"guest": guest, "uri": "tcp:127.0.0.1:0"})
        address = host.session.execute("query-migrate", {"guest": guest})["socket-address"][0]
        return f"tcp:{address['host']}:{address['port']}"

    @staticmethod
    def _wait(host):
        deadline = time.monotonic() + pair.TIMEOUT_S
        while True:
            statuses = [m["status"] for m in host.session.execute("query-migrations")]
            if all(s in qmp.FINAL for s in statuses):
                break
            if time.monotonic() > deadline:
                raise pair.MigrationError(f"not all of {MIGRATIONS} migrations ended within {pair.TIMEOUT_S} s")
            time.sleep(0.05)
        if statuses.count("completed") != MIGRATIONS:
            raise pair.MigrationError(f"of {MIGRATIONS} migrations only {statuses.count('completed')} completed")
