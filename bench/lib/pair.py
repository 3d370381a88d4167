# SPDX-License-Identifier: Apache-2.0
"""One migration between two virtual machines on this host, measured alike whatever runs them."""
import time
from abc import ABC, abstractmethod
from typing import Callable, NamedTuple, Optional

from lib import disk, guest, proc, qmp

SAMPLE_S = 0.02  # how often the workers' CPU and memory are looked at
TIMEOUT_S = 120
LISTEN_TIMEOUT_S = 20
PASS_POLL_S = 0.002


class MigrationError(Exception):
    pass


class Spec(NamedTuple):
    """What is migrated."""
    memory: int  # bytes
    contents: str  # file with what the guest's memory is to hold
    target_ram: str  # file, nothing but holes
    working_set: int = 0  # bytes that the guest dirties in a loop; 0: it is idle
    guest: str = "dirty"  # which one, of guest.GUESTS
    downtime_limit_ms: int = 300
    bandwidth: int = 0  # bytes/s; 0: no limit
    capabilities: tuple = ()  # names, on both sides, beside `events`
    parameters: dict = {}  # of both sides, as migrate-set-parameters takes them
    objects: Callable = None  # (side "source" or "target", is_peer) -> the arguments of an object-add, or None


class Outcome(NamedTuple):
    seconds: float  # from the migrate command to both ends' "completed"
    cpu_s: float  # of all processes that take part, in that time
    others: float  # share of this machine's CPUs that all else took meanwhile
    worker_mib: Optional[float]  # RssAnon + VmPTE of the larger worker, at its peak
    daemon_mib: Optional[float]  # RssAnon of the source's daemon before, the guest attached
    downtime_ms: Optional[int]  # as the source says
    passes: Optional[int]
    ended: float  # when both had said "completed", by time.monotonic()
    infos: tuple  # query-migrate of each end, afterwards


class Pair(ABC):
    """Two virtual machines and what they need to migrate from one to the other. `with` starts and ends it all."""

    def __init__(self, spec, images, directory):
        self.spec = spec
        self.images = images
        self.directory = directory
        self.processes = []
        self.source_ram = spec.contents  # the source's memory file
        self.source = None  # Qmp
        self.target = None

    is_peer = False
    unlimited = 0  # what max-bandwidth takes for "no limit"

    @abstractmethod
    def start(self):
        """Both run (the source's guest too); `configure` was called for each."""

    def configure(self, session, side, **capabilities):
        """What the spec asks for, and these CAPABILITIES."""
        if self.spec.objects:
            session.execute("object-add", self.spec.objects(side, self.is_peer))
        on = {"events": True, **{c: True for c in self.spec.capabilities}, **capabilities}
        session.execute("migrate-set-capabilities", {
            "capabilities": [{"capability": c.replace("_", "-"), "state": state} for c, state in on.items()]})
        session.execute("migrate-set-parameters", {
            "max-bandwidth": self.spec.bandwidth or self.unlimited, "downtime-limit": self.spec.downtime_limit_ms,
            **self.spec.parameters})

    def listen(self):
        """The target waits for the source: the URI."""
        self.target.execute("migrate-incoming", {"uri": "tcp:127.0.0.1:0"})
        deadline = time.monotonic() + LISTEN_TIMEOUT_S
        while True:
            addresses = self.target.execute("query-migrate").get("socket-address")
            if addresses:
                return f"tcp:127.0.0.1:{addresses[0]['port']}"
            if time.monotonic() > deadline:
                raise MigrationError(f"{self.target.name}: does not listen\n{self.logs()}")
            time.sleep(0.02)

    def workers(self):
        """Processes that come and go with the migration: {pid: the daemon that waits for it}."""
        return {}

    def daemon(self):
        """The source's daemon, if it has one."""
        return None

    def run(self, name, argv):
        process = proc.Process(argv, f"{self.directory}/{name}.log")
        self.processes.append(process)
        return process

    def connect(self, path, name, process):
        return qmp.Qmp(path, name, process.last_words)

    def logs(self):
        return "\n".join(f"--- {p.log_path}\n{p.log_tail()}" for p in self.processes if p.log_tail())

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for session in (self.source, self.target):
            if session:
                session.close()
        orphans = self.workers()
        for process in reversed(self.processes):
            process.end()
        for pid in orphans:
            if proc.argv0(pid):
                proc.end_by_pid(pid)


class Meter:
    """CPU and memory of a pair's processes between two moments."""

    def __init__(self, pair):
        self.pair = pair
        self.pids = [p.pid for p in pair.processes]
        self.before = self._main_cpu()
        self.reaped_before = self._reaped_cpu()
        self.workers_before = {pid: proc.cpu_s(pid) or 0.0 for pid in pair.workers()}
        self.workers_last = dict(self.workers_before)
        self.worker_kib = 0

    def _main_cpu(self):
        return sum(proc.cpu_s(pid) or 0.0 for pid in self.pids)

    def _reaped_cpu(self):
        return sum(proc.reaped_cpu_s(pid) for pid in self.pids)

    def sample(self):
        for pid in self.pair.workers():
            cpu = proc.cpu_s(pid)
            if cpu is not None:
                self.workers_last[pid] = cpu
            self.worker_kib = max(self.worker_kib, proc.status_kib(pid, "RssAnon", "VmPTE"))

    def cpu_s(self):
        """
        Everything since the start. A worker that ended is counted by what its daemon's wait for it says, or, if it was not
        waited for, by its last sample.
        """
        self.sample()
        alive = set(self.pair.workers())
        used = {pid: last - self.workers_before.get(pid, 0.0) for pid, last in self.workers_last.items()}
        gone = sum(cpu for pid, cpu in used.items() if pid not in alive)
        reaped = self._reaped_cpu() - self.reaped_before
        return (self._main_cpu() - self.before + sum(cpu for pid, cpu in used.items() if pid in alive) +
                max(gone, reaped))


class Quiet:
    """What the rest of the machine does meanwhile."""

    def __init__(self, own_pids=()):
        self.own_pids = own_pids
        self.start = time.monotonic()
        self.busy = proc.machine_busy_s()
        self.own = self._own()

    def _own(self):
        return time.process_time() + sum(proc.cpu_s(pid) or 0.0 for pid in self.own_pids)

    def others(self, cpu_s, n_cpus):
        took = max(time.monotonic() - self.start, 1e-3)
        busy = proc.machine_busy_s() - self.busy - cpu_s - (self._own() - self.own)
        return max(0.0, busy) / n_cpus / took


def _check(pair, sessions, ends):
    for session, end in zip(sessions, ends):
        if end is None or end[0] != "completed":
            why = session.execute("query-migrate").get("error-desc", "no reason given")
            raise MigrationError(f"{session.name}: {end[0] if end else 'did not end'}: {why}\n{pair.logs()}")


def run(pair, sessions, go, n_cpus, watcher_pids=()):
    """From GO() until all SESSIONS say that they are done: (Outcome, when it began). MigrationError or QmpError if not."""
    daemon = pair.daemon()
    daemon_mib = proc.status_kib(daemon, "RssAnon") / 1024 if daemon else None
    quiet = Quiet(watcher_pids)
    meter = Meter(pair)
    began = time.monotonic()
    go()
    ends = qmp.wait_final(sessions, TIMEOUT_S, SAMPLE_S, meter.sample)
    cpu = meter.cpu_s()
    others = quiet.others(cpu, n_cpus)
    _check(pair, sessions, ends)
    infos = tuple(session.execute("query-migrate") for session in sessions)
    info = infos[0]
    ended = max(when for _, when in ends)
    return Outcome(
        seconds=ended - began,
        cpu_s=cpu,
        others=others,
        worker_mib=meter.worker_kib / 1024 if meter.worker_kib else None,
        daemon_mib=daemon_mib,
        downtime_ms=info.get("downtime"),
        passes=info.get("ram", {}).get("dirty-sync-count"),
        ended=ended,
        infos=infos,
    ), began


def _passes(session):
    return session.execute("query-migrate").get("ram", {}).get("dirty-sync-count", 0)


def start_postcopy(session, after_passes):
    """Of a migration that was just started: switch to post-copy after that many whole passes, 0: at once."""
    session.wait_status(("active", *qmp.FINAL), TIMEOUT_S)
    while after_passes and not session.final_status() and _passes(session) <= after_passes:
        time.sleep(PASS_POLL_S)
    if not session.final_status():
        session.execute("migrate-start-postcopy")


def migrate(pair, n_cpus, watcher_pids=(), postcopy_after=None):
    """Migrate a started pair over TCP; by post-copy after that many passes."""
    uri = pair.listen()

    def go():
        pair.source.execute("migrate", {"uri": uri})
        if postcopy_after is not None:
            start_postcopy(pair.source, postcopy_after)

    return run(pair, [pair.source, pair.target], go, n_cpus, watcher_pids)


def save(pair, path, n_cpus):
    """The source's guest to a file, until it is durable; the page cache holds nothing of it then."""
    uri = f"file:{path}"
    outcome, began = run(pair, [pair.source], lambda: pair.source.execute("migrate", {"uri": uri}), n_cpus)
    # QEMU leaves that to whoever wants it; to migd it is part of "completed", and nothing is left to do here.
    disk.make_durable(path)
    return outcome._replace(seconds=time.monotonic() - began)


def load(pair, path, n_cpus):
    """The target's guest from a file that is not in the page cache."""
    disk.drop_cache(path)
    uri = f"file:{path}"
    return run(pair, [pair.target], lambda: pair.target.execute("migrate-incoming", {"uri": uri}), n_cpus)[0]


def wait_heartbeat(ram, timeout_s=30):
    """Until the loaded guest's counter moves."""
    deadline = time.monotonic() + timeout_s
    first = guest.heartbeat(ram)
    while guest.heartbeat(ram) == first:
        if time.monotonic() > deadline:
            raise MigrationError(f"the guest's counter in '{ram}' did not move within {timeout_s} s")
        time.sleep(0.01)
