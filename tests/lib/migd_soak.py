# SPDX-License-Identifier: Apache-2.0
"""
A soak: one guest (payload `soak`: memory, disk, clocks) goes back and forth between two daemons, each round as its plan
(migd_soak_plan) says. After each round exactly one side runs and the guest found nothing wrong; nothing is left of what moved it.

    migd_soak.run(t, rounds=12)

Daemon "a" lives through all of it: what it keeps of a round adds up. Daemon "b" is the one that is killed.
"""

import collections
import os
import socket
import signal
import statistics
import time

import migd_certs
import migd_reports
import migd_shared
import migd_soak_plan
import migdtest
from migd_process import is_running, wait_until

MIB = 1 << 20
MEMORY = {"memory": "48M", "payload": "soak", "working_set": "1M", "args": {"0": 16}}
STILL_AT, STILL_LEN = 32 * MIB, 6 * MIB  # memory that only we write
# A source that runs may still have to tell a target in LOADED so; a link that is refused comes back after 1.5 s at most.
SETTLE_SECONDS = 90
SLOW_RATE = 10 * MIB
# Allocators keep what they got: between the medians of the first and the last fifth of 1,000 rounds are 800 of them, so
# that a loss of 650 bytes a round is seen. What is lost once a round in smaller pieces than that is not.
RSS_TOLERANCE_KIB = 512
RSS_MIN_ROUNDS = 200  # fewer say nothing
MEMFDS = 8            # of a daemon or VMM that does nothing
WARM_UP = 0.1         # of the rounds: caches, the history (of 20 records here) and allocators fill up


def run(t, rounds):
    """MIGD_SOAK_ROUNDS, MIGD_SOAK_FIRST: so many instead, from another one on; MIGD_SOAK_MINUTES: then it is enough;
    MIGD_TEST_SEED: other ones."""
    seed = os.environ.get("MIGD_TEST_SEED", "2604")
    print(f"MIGD_TEST_SEED={seed}")
    first = int(os.environ.get("MIGD_SOAK_FIRST", "0"))
    Soak(t, seed).run(range(first, first + int(os.environ.get("MIGD_SOAK_ROUNDS", rounds))),
                      60 * float(os.environ.get("MIGD_SOAK_MINUTES", "inf")))


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


class Soak:
    def __init__(self, t, seed):
        self.t, self.seed = t, seed
        self.random = migd_soak_plan.random.Random(f"{seed} memory")
        self.disk = os.path.join(t.dir, "disk")
        with open(self.disk, "wb") as f:
            f.truncate(4 * MIB)
        self.config = os.path.join(t.dir, "migd.conf")
        with open(self.config, "w") as f:
            f.write("[history]\nmax-records = 20\n")
        self.options = {**MEMORY, "extra": ("--disk", self.disk)}
        self.a, self.b = self.daemon("a"), self.daemon("b")
        self._credentials()
        self.lives = 0
        self.fds = {}       # daemon or VMM: what its descriptors are when nothing moves
        self.files = None   # likewise of the state directories and the test's
        self.rss = collections.defaultdict(list)
        self.count_fds = collections.defaultdict(list)
        self.outcomes = collections.Counter()
        self.disturbed = collections.Counter()
        self.turned_on = collections.Counter()
        self.here, self.there = None, None

    # What it is made of.

    def daemon(self, name):
        # A target whose source's last word (SETTLED) is lost with the link waits for it, else for an hour.
        daemon = self.t.daemon(name, extra=["--allow-exec", "--config", self.config, *migd_shared.LISTEN],
                               env={"MIGD_FAULT": "linger-briefly"})
        migd_shared.say(daemon, b"nobody", end=True)  # the process that listens to strangers is there from now on
        return daemon

    def _credentials(self):
        """Each host can be client and server, by keys and by certificates."""
        ca = migd_certs.Authority(os.path.join(self.t.dir, "ca"))
        x509 = os.path.join(self.t.dir, "x509")
        ca.server(x509, ["IP:127.0.0.1"])
        ca.client(x509)
        psk = migd_certs.psk(os.path.join(self.t.dir, "psk"), {"qemu": "c0ffee00" * 8})
        for daemon in self.a, self.b:
            for kind, more in ("x509", {"dir": x509, "verify-peer": True}), ("psk", {"dir": psk}):
                for endpoint in "client", "server":
                    daemon.qmp.command("object-add", {"qom-type": f"tls-creds-{kind}", "id": f"{kind}-{endpoint}", "endpoint": endpoint,
                                                      **more, **({"username": "qemu"} if (kind, endpoint) == ("psk", "client") else {})})

    def begin_life(self):
        """A new guest, for there is none, or the last one died with its VMM."""
        self.lives += 1
        self.here = self.t.vmm(self.a, **self.options)
        self.t.assert_runs(self.here)
        self.refresh(everything=True)

    def refresh(self, everything=False):
        """Write some of the guest's memory over, from outside: zeros here, something else there."""
        length = STILL_LEN if everything else 128 << 10
        at = STILL_AT + (0 if everything else self.random.randrange(0, STILL_LEN - length, 4096))
        new = b"".join(bytes(4096) if self.random.random() < 0.3 else self.random.randbytes(4096) for _ in range(length // 4096))
        self.here.mem.map[at:at + length] = new
        self.still = self.here.mem.map[STILL_AT:STILL_AT + STILL_LEN]

    def other(self, daemon):
        return self.b if daemon is self.a else self.a

    def drop(self, vmm):
        """Forget a VMM that ended: 1,000 memories and logs are too many to keep."""
        if vmm is None:
            return
        vmm.kill()
        vmm.mem.close()
        self.t.processes.remove(vmm)
        for path in vmm.memory_file, vmm.log, vmm.serial:
            if os.path.exists(path):
                os.unlink(path)
        self.fds.pop(vmm, None)

    # A round.

    def run(self, numbers, seconds):
        started = time.monotonic()
        self.begin_life()
        for number in numbers:
            if time.monotonic() > started + seconds:
                break
            plan = migd_soak_plan.make(self.seed, number)
            print(f"{plan}", end="", flush=True)
            at = time.monotonic()
            outcome = self.round(plan)
            print(f": {outcome} ({time.monotonic() - at:.1f} s)", flush=True)
            self.outcomes[plan.name, outcome] += 1
            self.disturbed[plan.disturbance, outcome] += 1
            self.turned_on.update(plan.capabilities)
        rounds = self.outcomes.total()
        self.report(rounds, time.monotonic() - started)
        self.check_flat(rounds)

    def round(self, plan):
        t, src = self.t, self.here
        self.refresh()
        self.there = t.incoming(self.other(src.daemon), self.options)
        self.settings(plan)
        outcome = _Round(self, plan).go()
        src, dst = self.here, self.there
        if outcome == "moved":
            t.check(src.wait_exit() == 0, "the source's VMM ends well")
            self.here, self.there = dst, src
        elif outcome == "lost":
            self.drop(src)
            self.here = None
        self.drop(self.there)
        if outcome == "lost":
            self.quiet()
            self.begin_life()
        self.verify()
        self.quiet()
        return outcome

    def settings(self, plan):
        """All of both sides' capabilities and parameters, in an order in which none is refused for what was there before."""
        for vmm, endpoint in (self.here, "client"), (self.there, "server"):
            names = sorted(plan.capabilities, key=migd_soak_plan.CAPABILITIES.index)
            if plan.way.kind == "snapshot" and vmm is self.there:
                names = []
            vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": c, "state": False}
                                                                      for c in migd_soak_plan.CAPABILITIES]})
            creds = f"{plan.way.tls}-{endpoint}" if plan.way.tls else ""
            rates = {"max-bandwidth": SLOW_RATE, "max-postcopy-bandwidth": SLOW_RATE} if plan.slow else {}
            vmm.command("migrate-set-parameters", {**plan.parameters, **rates, "tls-creds": creds})
            vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": c, "state": True} for c in names]})

    def restart(self, daemon, with_workers=False):
        """Kill it, with what it would have seen of its workers' deaths; start the next, for the VMMs that are left."""
        if with_workers:
            os.kill(daemon.pid, signal.SIGSTOP)
            for pid in daemon.workers():
                os.kill(pid, signal.SIGKILL)
        daemon.kill(signal.SIGKILL)
        daemon.drop_session()
        self.t.processes.remove(daemon)
        self.b = self.daemon(daemon.name)
        for vmm in self.here, self.there:
            if vmm.daemon is daemon:
                vmm.daemon = self.b
                wait_until(lambda v=vmm: not v.running() or (self.b.guest(v.name) or {}).get("attached"),
                           f"{vmm.label} is attached to the next daemon", 30)

    # What has to be so after each round.

    def verify(self):
        """The guest runs here and nowhere else, and verified all of its memory, some of its disk and its clocks since now."""
        t, vmm, mem = self.t, self.here, self.here.mem
        t.check(mem.map[STILL_AT:STILL_AT + STILL_LEN] == self.still, f"memory that the guest does not write is as it was: {vmm.label}")
        passes, blocks, now = mem.detail(0), mem.detail(2), mem.detail(4)

        def verified():
            t.guest_ok(vmm)
            return mem.detail(0) >= passes + 2 and mem.detail(2) >= blocks + 2 and mem.detail(4) > now
        wait_until(verified, f"the guest verifies itself in {vmm.label}: {mem.describe()}", 60, alive=[vmm])
        t.check(vmm.run_state() == "running", f"its run state is {vmm.run_state()}")

    def quiet(self):
        """No worker is left, and what the daemons, the guest's VMM and the directories have is what they had before."""
        for daemon in self.a, self.b:
            wait_until(lambda d=daemon: not d.workers(), f"the workers of {daemon.name} end", SETTLE_SECONDS)
        for daemon in self.a, self.b:
            self._same_descriptors((daemon.name, self.here and self.here.daemon is daemon), daemon)
        if self.here:
            self._same_descriptors(self.here, self.here)
        self._same_files()
        for daemon in self.a, self.b:
            self.rss[daemon.name].append(rss_kib(daemon.pid))
            self.count_fds[daemon.name].append(len(daemon.fds()))

    def _same_descriptors(self, name, process):
        """But for memory: a daemon keeps the pages of its last migration's handover until the next one's are there."""
        if name not in self.fds:
            self.fds[name] = self._settled(process)

        def is_as_before(fds):
            memory = fds.count("/memfd")
            return memory <= MEMFDS and [fd for fd in fds if fd != "/memfd"] == [fd for fd in self.fds[name] if fd != "/memfd"]
        wait_until(lambda: is_as_before(process.fds()), f"{process.label} closes what it opened: {self.fds[name]}, now {process.fds()}", 30)

    @staticmethod
    def _settled(process):
        seen = []
        wait_until(lambda: seen.append(process.fds()) or len(seen) > 5 and seen[-5:] == 5 * seen[-1:], "descriptors are closed", every=0.05)
        return seen[-1]

    def _left(self):
        """Files but those that may be there: records (bounded by the history), a guest's settings (by its name), a VMM's own."""
        found = []
        for base, _, names in os.walk(self.t.dir):
            if os.path.basename(base) not in ("records", "settings"):
                found += [os.path.relpath(os.path.join(base, n), self.t.dir) for n in names if not n.startswith("vmm-")]
        return sorted(found)

    def _same_files(self):
        if self.files is None:
            self.files = self._left()
        wait_until(lambda: self._left() == self.files, f"no file is left: {sorted(set(self._left()) ^ set(self.files))}")

    # At the end.

    def medians(self, values):
        """Of the first and of the last fifth, once warm."""
        warm = values[int(len(values) * WARM_UP):]
        fifth = max(1, len(warm) // 5)
        return statistics.median(warm[:fifth]), statistics.median(warm[-fifth:])

    def check_flat(self, rounds):
        for name in "a", "b":
            first, last = self.medians(self.rss[name])
            if rounds >= RSS_MIN_ROUNDS and not migd_reports.INSTRUMENTED:
                self.t.check(last <= first + RSS_TOLERANCE_KIB, f"daemon {name}: {first} KiB became {last} KiB")

    def report(self, rounds, seconds):
        outcomes = sorted({o for _, o in self.outcomes})
        print(f"\n{rounds} rounds in {seconds:.0f} s, {self.lives} guest(s), {self.here.mem.checks} checks by the last one")
        for title, counts in ("way", self.outcomes), ("disturbed by", self.disturbed):
            print(f"{title:24}" + "".join(f"{o:>11}" for o in outcomes))
            for kind in sorted({k for k, _ in counts}):
                print(f"  {kind:22}" + "".join(f"{counts[kind, o] or '-':>11}" for o in outcomes))
        print("capabilities: " + ", ".join(f"{c} {n}" for c, n in self.turned_on.most_common()))
        for name in "a", "b":
            for what, values in ("KiB resident", self.rss[name]), ("descriptors", self.count_fds[name]):
                first, last = self.medians(values)
                print(f"daemon {name}: {first:.0f} -> {last:.0f} {what} (first {values[0]}, most {max(values)})")


class _Round:
    """One migration, from its start until it is known what became of it."""

    def __init__(self, soak, plan):
        self.soak, self.t, self.plan, self.way = soak, soak.t, plan, plan.way
        self.src, self.dst = soak.here, soak.there
        self.uri = self.way.uri
        self.link = None
        self.file = None

    def go(self):
        """"moved", "stayed" or "lost"."""
        try:
            if self.way.kind in ("stored", "lazy", "snapshot"):
                return self._through_a_file()
            self._start()
            self._disturb()
            return self._settle()
        finally:
            if self.link:
                self.link.__exit__(None, None, None)

    # Starting.

    def _migrate(self, uri):
        weak = {"allow-weak-handover": True} if self.way.kind == "pipe" or uri.startswith("exec:") else {}
        self.src.command("migrate", {"uri": uri, **weak})

    def _pass_descriptors(self):
        if self.way.kind == "pipe":
            theirs, ours = os.pipe()
        else:
            ours, theirs = (s.detach() for s in socket.socketpair())
        for vmm, fd in (self.src, ours), (self.dst, theirs):
            vmm.daemon.qmp.command("getfd", {"fdname": "soak"}, fds=[fd])
            os.close(fd)

    def _start(self):
        uri = self.uri.format(dir=self.t.dir)
        if self.way.kind in ("fd", "pipe"):
            self._pass_descriptors()
        found = self.t.listen(self.dst, uri)
        if self.way.shared:
            found = migd_shared.uri(self.dst.daemon, None)
        if self.plan.disturbance in ("cut", "cut-at-message"):
            self.link = migdtest.migd_proxy.Proxy(int(found.rpartition(":")[2]), refuse_for=self.plan.refuse_for,
                                                  encrypted=self.plan.message is None, rule=self._rule if self.plan.message else None,
                                                  cuts=[self.plan.cut] if self.plan.cut else ())
            self.link.refuse_after_cut = False
            found = self.link.uri
        self.started = time.monotonic()
        self._migrate(found)

    def _rule(self, direction, name, _count):
        """Cut once, before the message or behind it."""
        if (direction, name) != self.plan.message or self.link.was_cut.is_set():
            return None
        return "cut-before" if self.plan.number % 2 else "cut"

    # What happens meanwhile.

    def _disturb(self, limited=None):
        """`limited`: whose bandwidth is."""
        steps = []
        if self.plan.postcopy_at is not None:
            steps.append((self.plan.postcopy_at, self._start_postcopy))
        if not self.link and self.plan.disturbance != "nothing":
            steps.append((self.plan.moment, getattr(self, "_" + self.plan.disturbance.replace("-", "_"))))
        if self.link and self.plan.slow:
            steps.append((self.plan.moment, lambda: None))
        for at, step in sorted(steps, key=lambda s: s[0]):
            time.sleep(max(0, self.started + at - time.monotonic()))
            step()
        if self.plan.slow:
            self._try(limited or self.src, "migrate-set-parameters", {"max-bandwidth": 0, "max-postcopy-bandwidth": 0})

    def _try(self, vmm, command, arguments=None):
        """It may be too late for it, or too early."""
        try:
            vmm.command(command, arguments)
        except migdtest.QmpError as e:
            self.t.check(e.cls in ("GenericError", "DeviceNotFound"), f"{e}")

    def _start_postcopy(self):
        self._try(self.src, "migrate-start-postcopy")

    def _cancel(self):
        self._try(self.src, "migrate_cancel")

    def _kill_worker(self, vmm):
        for pid in vmm.daemon.workers():
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)

    def _kill_source_worker(self):
        self._kill_worker(self.src)

    def _kill_target_worker(self):
        self._kill_worker(self.dst)

    def _kill_daemon(self):
        self.soak.restart(self.soak.b)

    def _kill_daemon_and_worker(self):
        self.soak.restart(self.soak.b, with_workers=True)

    def _kill_target_vmm(self):
        self.dst.kill()

    def _shorten_file(self):
        """What is missing is read when it is there again."""
        at = MIB + int(self.plan.moment * 10 * MIB)
        with open(self.file, "r+b") as f:
            f.seek(at)
            rest = f.read()
            f.truncate(at)
            time.sleep(self.plan.refuse_for)
            f.seek(at)
            f.write(rest)

    # How it ends.

    def _status(self, vmm):
        """Of its migration; "none" where the daemon knows nothing of it: one that was killed does not tell the next what was over."""
        try:
            return vmm.status()
        except migdtest.QmpError:
            return "none"

    def _over_before(self, vmm):
        """It ended under a daemon that was killed since: the guest's state is what is known."""
        return "kill-daemon" in self.plan.disturbance and self._status(vmm) == "none" and vmm.run_state() == "running"

    def _source_ended(self):
        if self.plan.disturbance == "kill-target-vmm" and self._status(self.src) == "postcopy-paused" and not self.dst.running():
            # What an operator does: the guest died over there.
            self._try(self.src, "migrate-resolve", {"outcome": "discard", "fenced": True})
        status = self._status(self.src)
        if not self.src.running() and status in ("none", *migdtest.ENDED):
            return "completed"
        if self.src.running() and self._over_before(self.src):
            return "failed"
        return status if status in migdtest.ENDED else None

    def _target_ended(self):
        """A destination that nobody came to, or that was left, is told by us once the source has nobody left who would."""
        if not self.dst.running():
            return "gone"
        status = self._status(self.dst)
        if status in ("setup", "active") and not self.src.daemon.workers():
            self._try(self.dst, "migrate_cancel")
        return status if status in migdtest.ENDED or status == "none" else None

    def _wait(self, condition, what):
        try:
            return wait_until(condition, what, SETTLE_SECONDS)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self._describe()}") from None

    def _describe(self):
        said = {}
        for vmm in self.src, self.dst:
            try:
                said[vmm.label] = vmm.migration()
            except migdtest.QmpError as e:
                said[vmm.label] = e
        return f"{said}"

    def _settle(self):
        status = self._wait(self._source_ended, "the source's migration ends")
        if status == "completed":
            return self._arrived()
        self._wait(self._target_ended, "the target's migration ends")
        self._wait(lambda: not self.src.daemon.workers(), "the source told the target so")
        self.t.assert_runs(self.src)
        if self.dst.running():
            self.t.assert_stopped(self.dst, 0.1)
        self.t.check(self.dst.mem.magic == 0 or self.dst.mem.heartbeat <= self.src.mem.heartbeat, "the target never ran")
        return "stayed"

    def _arrived(self):
        if not self.dst.running():
            self.t.check(self.plan.disturbance == "kill-target-vmm", f"{self.dst.label} ended: {self.dst.proc.returncode}")
            return "lost"
        status = self._wait(lambda: self._over_before(self.dst) and "completed" or
                            (lambda s: s if s in migdtest.ENDED else None)(self._status(self.dst)), "the target's migration ends")
        self.t.check(status == "completed", f"both sides agree: {self._describe()}")
        self.t.assert_runs(self.dst)
        if self.src.running():
            self.t.assert_stopped(self.src, 0.05)
        return "moved"

    def _through_a_file(self):
        """Out, and in again if that succeeds."""
        self.file = os.path.join(self.t.dir, "guest")
        self.started = time.monotonic()
        try:
            self._migrate(self.uri.format(dir=self.t.dir, redirect=">"))
            if self.way.kind != "lazy":
                self._disturb()
            if self._wait(self._source_ended, "the source's migration ends") != "completed":
                self.t.assert_runs(self.src)
                return "stayed"
            if self.way.kind == "snapshot":
                with open(self.file, "rb") as f:
                    self.t.check(f.read(4) == b"QEVM", "the snapshot is a stream")
                return "stayed"
            if self.way.kind == "lazy":
                self._restore_lazily()
            else:
                self.t.listen(self.dst, self.uri.format(dir=self.t.dir, redirect="<"))
            return self._arrived()
        finally:
            if os.path.exists(self.file):
                os.unlink(self.file)

    def _restore_lazily(self):
        """It is disturbed when it runs."""
        self.dst.command("migrate-incoming", {"uri": self.uri.format(dir=self.t.dir), "lazy": True, "exit-on-error": False})
        self._wait(lambda: self._status(self.dst) in ("postcopy-active", "completed"), "the guest runs while it is restored")
        self.started = time.monotonic()
        self._disturb(self.dst)
