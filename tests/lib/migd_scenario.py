# SPDX-License-Identifier: Apache-2.0
"""The black-box scenarios that any implementation of the migration protocol has to pass, by their common names.

    from migd_scenario import main, scenario

    @scenario("precopy/unix/plain")
    def precopy_unix_plain(s):
        s.start()
        s.precopy(s.unix_uri(), live=True)

    main()

Each @scenario line is one ctest test, scenario/NAME (tests/CMakeLists.txt reads them). Its QMP transcript is left in the
build folder as scenario/NAME.qmp. Arguments of the program choose by name.
"""

import datetime
import functools
import os
import time

import migd_process
import migd_qmp
import migdtest
from migd_process import wait_until

# Where the guest counts, and how much of it: vmm/payloads/touch.c.
REGION_START = 16 << 20
REGION_BYTES = 99 << 20
MEMORY = "128M"
PAGE = 4096
MARK_AT = REGION_START + (3 << 20) + 1024
MARK = b"\xa5migdOK\x5a"
PATIENCE = 120  # seconds until a wait has failed
ENDED = ("completed", "failed", "cancelled")

_scenarios = {}


def scenario(name, **arguments):
    """Register a function, with these arguments for it, as the scenario `name`. May be stacked."""
    def register(function):
        if name in _scenarios:
            raise AssertionError(f"two scenarios are called {name}")
        _scenarios[name] = functools.partial(function, **arguments) if arguments else function
        return function
    return register


def main():
    migdtest.main(tests=_scenarios, make=Scenario)


class PrintedTranscript:
    """Where the build folder cannot be written to (the lab), a transcript is printed, for outside to take."""
    MARK = "transcript of scenario/"

    def __init__(self, name):
        self.name = name

    def write(self, text):
        for line in text.splitlines():
            print(f"{self.MARK}{self.name}: {line}", flush=True)

    def close(self):
        pass

    @staticmethod
    def take(line):
        """Whether this is a line of one; then it is added to its file. Names have no ": " in them."""
        if not line.startswith(PrintedTranscript.MARK):
            return False
        name, text = line[len(PrintedTranscript.MARK):].split(": ", 1)
        with open_transcript(name, "w" if text.startswith("# scenario/") else "a") as f:
            f.write(text)
        return True


def open_transcript(name, mode):
    path = os.path.join(migd_process.BUILD_DIR, "scenario", name + ".qmp")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return open(path, mode, buffering=1, encoding="utf-8")


class Transcript:
    """What both sides said, each line with the seconds since the start, the side, and the direction."""

    def __init__(self, name):
        self.file = PrintedTranscript(name) if os.environ.get("MIGD_LAB") else open_transcript(name, "w")
        self.started = time.monotonic()
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        self.file.write(f"# scenario/{name}, {now}; SECONDS SIDE > to migd, < from migd\n")

    def recorder(self, side):
        def record(direction, data):
            at = time.monotonic() - self.started
            for line in data.decode("utf-8", "replace").splitlines():
                if line.strip():
                    self.file.write(f"{at:11.6f} {side} {direction} {line.strip()}\n")
        return record

    def close(self):
        self.file.close()


class Scenario(migdtest.Test):
    """One scenario: a source, a destination, and the procedures that scenarios share."""

    def __init__(self, name):
        super().__init__(name)
        self.transcript = Transcript(name)
        self.cleanup.callback(self.transcript.close)
        self.src = self.dst = None

    # What there is.

    def start_daemon(self, side, **options):
        """A daemon whose sessions are in the transcript."""
        daemon = self.daemon(side, **options)
        daemon.record = self.transcript.recorder(side)
        return daemon

    def start(self, src=None, dst=None, events=True, suspend_after=None, daemon=None, destination=True, **options):
        """Make both sides, with a guest that counts on the source. `options` are Vmm's; src, dst: for one side only."""
        self.options = {"payload": "touch", "memory": MEMORY, "working_set": REGION_BYTES, **options}
        if suspend_after:
            self.options["args"] = {0: suspend_after}
        self.a = self.start_daemon("src", **(daemon or {}))
        self.b = self.start_daemon("dst", **(daemon or {}))
        self.dst_options = dst or {}
        self.src = self.vmm(self.a, **{**self.options, **(src or {})})
        self.events = events
        if destination:
            self.start_destination()
        if events:
            self.capabilities(self.src, "events")
        self.wait_serial(self.src, "B")

    def start_destination(self):
        """A fresh VMM that waits for the guest."""
        self.dst = self.incoming(self.b, self.options, **self.dst_options)
        if self.events:
            self.capabilities(self.dst, "events")
        return self.dst

    def unix_uri(self, name="migration"):
        return f"unix:{os.path.join(self.dir, name)}"

    # Settings.

    def capabilities(self, vmm, *names, on=True):
        vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": n, "state": on} for n in names]})

    def set(self, vmm, **parameters):
        """Set parameters, and read them back."""
        wanted = {k.replace("_", "-"): v for k, v in parameters.items()}
        vmm.command("migrate-set-parameters", wanted)
        got = vmm.command("query-migrate-parameters")
        for name, value in wanted.items():
            self.check(got[name] == value, f"{name} was set to {value}, and reads {got[name]}")

    def slow(self, vmm):
        self.set(vmm, max_bandwidth=3_000_000, downtime_limit=1)

    def fast(self, vmm):
        self.set(vmm, max_bandwidth=10 ** 12, downtime_limit=30000)

    # Following a migration.

    def seen(self, vmm, name, **data):
        """The events of that name and data so far."""
        vmm.daemon.qmp.poll_events()
        return [e for e in vmm.daemon.qmp.events if e.name == name and e.guest in (None, vmm.name)
                and all(e.data.get(k) == v for k, v in data.items())]

    def wait_seen(self, vmm, name, **data):
        """Wait until there was such an event, be it long ago."""
        return wait_until(lambda: self.seen(vmm, name, **data), f"{vmm.label}: event {name} {data}", PATIENCE,
                          alive=[vmm.daemon])[0]

    def forget_events(self, vmm):
        vmm.daemon.qmp.poll_events()
        vmm.daemon.qmp.events.clear()
        vmm.daemon.qmp.skip_events()

    def states(self, vmm):
        """The states that MIGRATION events told so far."""
        return [e.data["status"] for e in self.seen(vmm, "MIGRATION")]

    def wait_status(self, vmm, status, allow=()):
        """Wait for query-migrate's status. Another end fails, and so does any state not in `allow`, if given."""
        def reached():
            info = vmm.migration()
            now = info.get("status")
            if now == status:
                return info
            self.check(now not in ENDED or now in allow, f"{vmm.label} ended {now}, not {status}: {info}")
            self.check(not allow or now in allow, f"{vmm.label} is {now} on the way to {status}")
            return None
        return wait_until(reached, f"{vmm.label} is {status}", PATIENCE, alive=[vmm.daemon])

    def wait_serial(self, vmm, text):
        wait_until(lambda: text in vmm.serial_text(), f"{vmm.label} says {text!r}", PATIENCE, alive=[vmm])

    # Starting one.

    def listen(self, uri=None, channels=None, exit_on_error=None):
        """migrate-incoming on the destination; returns the URI to migrate to."""
        arguments = {"uri": uri} if uri else {"channels": channels}
        if exit_on_error is not None:
            arguments["exit-on-error"] = exit_on_error
        self.dst.command("migrate-incoming", arguments)
        if self.events:
            self.wait_seen(self.dst, "MIGRATION", status="setup")
        addresses = self.dst.migration().get("socket-address")
        return _uri_of(addresses[0]) if addresses else uri

    def go(self, uri=None, channels=None, **more):
        """migrate on the source."""
        self.src.command("migrate", {**({"uri": uri} if uri else {"channels": channels}), **more})

    # Memory.

    def mark(self):
        """Before the migration: something in the source's memory that the destination's can be seen to have got."""
        self.src.mem.map[MARK_AT:MARK_AT + len(MARK)] = MARK

    def wait_dirty(self):
        """Wait until a page that was sent is written again: another pass is needed."""
        dst, src = self.dst.mem.map, self.src.mem.map
        wait_until(lambda: dst[MARK_AT:MARK_AT + len(MARK)] == MARK, "the mark arrives", PATIENCE,
                   alive=[self.src, self.dst])
        at = REGION_START + (3 << 20)
        before = src[at]
        wait_until(lambda: src[at] != before, "a page that was sent changes", PATIENCE, alive=[self.src])

    def wait_passes(self, n):
        """Wait for so many more passes over memory."""
        first = self.src.migration().get("ram", {}).get("dirty-sync-count", 0)
        wait_until(lambda: self.src.migration().get("ram", {}).get("dirty-sync-count", 0) >= first + n,
                   f"{n} more passes", PATIENCE, alive=[self.src])

    def check_ram(self, vmm=None):
        """The guest goes on counting, stops when told to, and every page has the same count, or, from one on, one less."""
        vmm = vmm or self.dst
        ram = vmm.mem.map
        first = ram[REGION_START]
        wait_until(lambda: ram[REGION_START] != first, f"the guest in {vmm.label} counts", PATIENCE, alive=[vmm])
        vmm.command("stop")
        frozen = ram[REGION_START]
        time.sleep(0.2)
        self.check(ram[REGION_START] == frozen, f"the guest in {vmm.label} counts, though it was stopped")
        counts = ram[REGION_START:REGION_START + REGION_BYTES:PAGE]
        drops = [i for i in range(1, len(counts)) if counts[i] != counts[i - 1]]
        self.check(len(drops) <= 1 and all(counts[i - 1] - counts[i] & 0xFF == 1 for i in drops),
                   f"memory is damaged: counts change at pages {drops[:20]}: "
                   f"{[(counts[i - 1], counts[i]) for i in drops[:20]]}")
        self.guest_ok(vmm)

    # Ends.

    def end_source(self):
        """The source is done with: it ended by itself, or is told to quit; status 0."""
        if self.src.running() and self.a.guest(self.src.name) and self.a.guest(self.src.name)["attached"]:
            try:
                self.src.command("quit")
            except migd_qmp.QmpError:
                pass  # it was ending
        status = self.src.wait_exit()
        self.check(status == 0, f"the source's VMM ended with status {status}")

    def finish(self):
        """Both completed, the guest runs on the destination, and its memory is whole."""
        self.wait_status(self.src, "completed")
        self.wait_status(self.dst, "completed")
        self.check_arrived()

    def check_arrived(self):
        self.wait_seen(self.dst, "RESUME")
        self.wait_serial(self.dst, "B")
        self.end_source()
        self.check_ram()

    # The shared procedures.

    def precopy(self, uri=None, live=True, wait=None, suspended=False, connect=None, **listen):
        """PRE: live, slow until a second pass is needed (or `wait()` returns), then fast; or with the guest stopped."""
        found = connect or self.listen(uri, **listen)
        self.mark()
        if live:
            self.slow(self.src)
        else:
            self.src.command("stop")
            self.fast(self.src)
        self.go(**found) if isinstance(found, dict) else self.go(found)
        if live:
            if not suspended:
                (wait or self.wait_dirty)()
            self.fast(self.src)
            self.wait_status(self.src, "completed")
            self.wait_seen(self.src, "STOP")
        self.wait_status(self.src, "completed")
        self.wait_status(self.dst, "completed")
        if not live:
            self.dst.command("cont")
        if suspended:
            self.wait_seen(self.dst, "RESUME")
            self.check(self.dst.run_state() == "suspended", f"asleep on arrival, not {self.dst.run_state()}")
            self.dst.command("system_wakeup")
        self.check_arrived()

    def switch(self, suspended=False):
        """POST, up to where the guest runs on the destination: pre-copy, slow, until a second pass is needed; then post-copy."""
        uri = self.listen(channels=[{"channel-type": "main", "addr": {
            "transport": "socket", "type": "inet", "host": "127.0.0.1", "port": "0"}}])
        self.mark()
        self.slow(self.src)
        self.go(uri)
        if suspended:
            self.wait_status(self.src, "active", allow=("setup",))
        else:
            self.wait_dirty()
        self.src.command("migrate-start-postcopy")
        self.wait_seen(self.src, "STOP")
        self.wait_seen(self.dst, "RESUME")

    def postcopy(self, suspended=False):
        """POST: the capabilities postcopy-ram and postcopy-blocktime are on, on both sides."""
        self.switch(suspended)
        self.wait_status(self.src, "completed")
        self.wait_status(self.dst, "completed")
        self.check_postcopy()
        if suspended:
            self.check(self.dst.run_state() == "suspended", f"asleep on arrival, not {self.dst.run_state()}")
            self.dst.command("system_wakeup")
        self.check_arrived()

    def check_postcopy(self, recoveries=0):
        """What both sides say of a post-copy that was interrupted so often."""
        src, dst = self.src.migration(), self.dst.migration()
        ram = src["ram"]
        self.check(ram["postcopy-bytes"] > 0 and ram["remaining"] == 0, f"memory was sent in post-copy: {ram}")
        self.check(src["downtime"] >= 0 and "blackout" in src and "expected-downtime" not in src, f"{src}")
        sent = src["postcopy"]
        pages = sent["requested"] + sent["prefetched"] + sent["background"]
        self.check(pages > 0 and sent["recoveries"] == recoveries, f"pages were sent: {sent}")
        got = dst["postcopy"]
        self.check(got["missing"] == 0 and got["recoveries"] == recoveries, f"nothing is missing: {got}")
        self.check(len(dst["postcopy-vcpu-blocktime"]) == len(dst["postcopy-vcpu-latency"]) == 1, f"one vCPU: {dst}")
        self.check(dst["postcopy-blocktime"] <= dst["postcopy-vcpu-blocktime"][0], f"all waited when the only one did: {dst}")
        self.check(len(dst["postcopy-latency-dist"]) == 24 and sum(dst["postcopy-latency-dist"]) == got["faults"], f"{dst}")
        if got["faults"]:
            f = got["fault-latency"]
            self.check(f["min"] <= f["p50"] <= f["p90"] <= f["p99"] <= f["max"] and f["mean"] == dst["postcopy-latency"], f"{dst}")
            self.check(ram["postcopy-requests"] > 0, f"who waited asked: {src}")
        self.check("postcopy-non-vcpu-latency" in dst, f"{dst}")
        if self.events and not recoveries:
            self.check(self.states(self.src) == ["setup", "active", "device", "postcopy-device", "postcopy-active", "completed"],
                       f"the source went through {self.states(self.src)}")
            self.check(self.states(self.dst) == ["setup", "active", "postcopy-device", "postcopy-active", "completed"],
                       f"the destination went through {self.states(self.dst)}")

    def check_source_runs_on(self, allow=("setup", "active")):
        """A migration that fails, by way of these states, and leaves the source running."""
        wait_until(lambda: self.src.status() == "failed", "the source's migration fails", PATIENCE, alive=[self.a, self.src])
        states = self.states(self.src)
        self.check(set(states) <= {*allow, "failed"}, f"the source went through {states}")
        status = self.src.command("query-status")
        self.check(status["running"] is True, f"the source says {status}")
        self.assert_runs(self.src)

    def fail_keep(self):
        """FAIL-keep: the source runs on, the destination's process stays."""
        self.check_source_runs_on()
        self.check(self.dst.running(), "the destination's VMM ended")

    def fail_quit(self):
        """FAIL-quit: the source never got active and runs on, the destination ends with status 1."""
        self.check_source_runs_on(allow=("setup",))
        self.check_destination_quit()

    def check_destination_quit(self):
        status = self.dst.wait_exit()
        self.check(status == 1, f"the destination's VMM ended with status {status}, not 1")

    def file(self, source, destination=None, stopped=True):
        """FILE: migrate to a file, then from it. Arguments as for listen() and go(): URIs, or {"channels": ...}."""
        destination = destination or source
        self.fast(self.src)
        if stopped:
            self.src.command("stop")
        self.go(**source) if isinstance(source, dict) else self.go(source)
        self.wait_status(self.src, "completed")
        self.listen(**destination) if isinstance(destination, dict) else self.listen(destination)
        self.wait_status(self.dst, "completed")
        if stopped:
            self.dst.command("cont")
        self.check_arrived()


def _uri_of(address):
    """The URI of one of query-migrate's socket-address."""
    if address["type"] == "unix":
        return "unix:" + address["path"]
    host = address["host"]
    return f"tcp:{'[' + host + ']' if ':' in host else host}:{address['port']}"
