# SPDX-License-Identifier: Apache-2.0
"""Whole-process tests: daemons, VMMs and guests in a directory of their own, gone when the test ends.

    import migdtest

    def test_guest_goes_on(t):
        src, dst = t.pair()
        t.migrate(src, dst)
        t.assert_runs(dst)

    migdtest.main()

main() runs every test_*() of the program in order, each with a Test of its own; arguments choose by name. Exit status: 0
all passed, 1 one failed, 77 all were skipped.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback

import migd_guestmem
import migd_netns
import migd_process
import migd_proxy
import migd_reports
from migd_process import SLOW, wait_until
from migd_qmp import QmpError

ENDED = ("completed", "failed", "cancelled")
LOG_TAIL_LINES = 60
CANCEL_SECONDS = 0.100  # the promise


class Skip(Exception):
    """This test cannot run here; the text says why."""


class Ended(BaseException):
    """The program has to end now: out of time, or told to."""


class Test:
    """What one test made, to be undone."""

    def __init__(self, name):
        self.name = name
        self.processes = []
        self._labels = {}
        self.cleanup = contextlib.ExitStack()
        self.dir = tempfile.mkdtemp(prefix="migdtest-")
        self.cleanup.callback(shutil.rmtree, self.dir, ignore_errors=True)
        self.shm = tempfile.mkdtemp(prefix="migdtest-", dir="/dev/shm")
        self.cleanup.callback(shutil.rmtree, self.shm, ignore_errors=True)
        self.reports = tempfile.mkdtemp(prefix="migdtest-reports-")
        os.chmod(self.reports, 0o1777)  # of processes that are somebody else's, too
        self.cleanup.callback(shutil.rmtree, self.reports, ignore_errors=True)
        migd_reports.leave_them_in(self.reports)

    def insist_on_no_reports(self):
        """Sanitizers and valgrind found nothing in any process, up to its orderly end."""
        if migd_reports.INSTRUMENTED:
            for process in reversed(self.processes):
                process.end()
        found = migd_reports.of(self.processes, self.reports)
        self.check(not found, found)

    def close(self):
        for process in reversed(self.processes):
            if process.running():
                os.kill(process.pid, signal.SIGKILL)
                process.proc.wait()
        migd_process.end_children()
        self.cleanup.close()

    def count(self, label):
        self._labels[label] = self._labels.get(label, -1) + 1
        return self._labels[label]

    def print_logs(self):
        for process in self.processes:
            print(f"---- {process.label} (pid {process.pid}, status {process.proc.poll()}):", file=sys.stderr)
            lines = process.log_text().splitlines()
            print("\n".join(lines[:1] + lines[1:][-LOG_TAIL_LINES:]), file=sys.stderr)
            if isinstance(process, migd_process.Vmm) and process._mem:
                print(f"     guest: {process.mem.describe()}", file=sys.stderr)

    # What a test is made of.

    def daemon(self, name, **options):
        return migd_process.Daemon(self, name, **options)

    def vmm(self, daemon, name="g", **options):
        return migd_process.Vmm(self, name, daemon, **options)

    def incoming(self, daemon, source_options, **changes):
        """A VMM on `daemon` that waits for a guest made with source_options."""
        return self.vmm(daemon, **{**source_options, "incoming": True, **changes})

    def pair(self, netns=False, dst_changes=None, started=True, src_env=None, dst_env=None, builds=(None, None),
             vmm_builds=(None, None), **options):
        """
        Two daemons with a guest and a VMM that waits for it: (source, destination). `options` are Vmm's, `src_env` and
        `dst_env` the daemons'. `builds`, `vmm_builds`: folders of other builds than this one.
        """
        spaces = self.netns_pair() if netns else (None, None)
        self.a = self.daemon("a", netns=spaces[0], env=src_env, build=builds[0])
        self.b = self.daemon("b", netns=spaces[1], env=dst_env, build=builds[1])
        self.options = options
        src = self.vmm(self.a, build=vmm_builds[0], **options)
        dst = self.incoming(self.b, options, build=vmm_builds[1], **(dst_changes or {}))
        if started:
            self.assert_runs(src)
        return src, dst

    def netns_pair(self):
        return self.cleanup.enter_context(migd_netns.pair()).names

    def proxy(self, port, **options):
        return self.cleanup.enter_context(migd_proxy.Proxy(port, **options))

    # Migrating.

    def listen(self, dst, uri="tcp:127.0.0.1:0", exit_on_error=False):
        """migrate-incoming; returns the URI under which the destination is found."""
        dst.command("migrate-incoming", {"uri": uri, "exit-on-error": exit_on_error})
        if not uri.startswith("tcp:"):
            return uri
        address = wait_until(lambda: dst.migration().get("socket-address"), "the destination says its address")[0]
        return f"tcp:{address['host'] if ':' not in address['host'] else '[' + address['host'] + ']'}:{address['port']}"

    def start(self, src, dst, uri="tcp:127.0.0.1:0", via=None):
        """migrate-incoming and migrate, not waiting for the end. `via`: URI -> URI, for a proxy in between."""
        found = self.listen(dst, uri)
        src.command("migrate", {"uri": via(found) if via else found})

    def wait_end_of(self, side, timeout=60):
        """Wait until the migration of a Vmm or a migd_qemu.Qemu ended; returns its query-migrate."""
        return wait_until(lambda: (lambda m: m if m.get("status") in ENDED else None)(side.migration()),
                          f"the migration of {side.label} ends", timeout=timeout)

    def wait_end(self, vmm, timeout=60):
        """Wait until this side's migration ended; returns query-migrate."""
        return wait_until(lambda: (lambda m: m if m.get("status") in ENDED else None)(vmm.migration()),
                          f"the migration of {vmm.label} ends", timeout=timeout, alive=[vmm.daemon])

    def migrate(self, src, dst, uri="tcp:127.0.0.1:0", timeout=60):
        """Migrate and insist on success; returns the source's query-migrate."""
        self.start(src, dst, uri)
        info = self.wait_end(src, timeout)
        self.check(info["status"] == "completed", f"the source says {info}")
        target = self.wait_end(dst, timeout)
        self.check(target["status"] == "completed", f"the destination says {target}")
        return info

    def fill(self, vmm, start=32 << 20, length=8 << 20):
        """Write into the guest's memory, where the guest does not: more to be sent, once."""
        vmm.mem.map[start:start + length] = b"x" * length

    def make_slow(self, src, rate=1 << 20):
        """Make a migration of this guest take for ever, until speed_up()."""
        src.set(max_bandwidth=rate)

    def speed_up(self, src):
        src.set(max_bandwidth=0)

    def wait_active(self, src, sent_bytes=1 << 16):
        """Wait until a migration is in pre-copy and has moved something."""
        def active():
            info = src.migration()
            if info.get("status") in ENDED:
                raise AssertionError(f"the migration ended before it could be disturbed: {info}")
            return info.get("status") == "active" and info.get("ram", {}).get("transferred", 0) >= sent_bytes
        wait_until(active, "the migration is active", alive=[src.daemon])

    # Checks.

    def check(self, condition, what):
        if not condition:
            raise AssertionError(what)

    def guest_ok(self, vmm):
        mem = vmm.mem
        self.check(mem.status != migd_guestmem.FAILED and mem.failures == 0,
                   f"the guest in {vmm.label} found something wrong: {mem.describe()}")

    def assert_runs(self, vmm, beats=3, timeout=20):
        """The guest executes instructions here, now, and has found nothing wrong."""
        mem = vmm.mem
        wait_until(lambda: mem.magic == migd_guestmem.MAGIC and mem.status != migd_guestmem.STARTING,
                   f"the payload in {vmm.label} starts", timeout, alive=[vmm])
        first = mem.heartbeat
        wait_until(lambda: mem.heartbeat >= first + beats, f"the guest in {vmm.label} runs", timeout, alive=[vmm])
        self.guest_ok(vmm)

    def assert_stopped(self, vmm, seconds=0.3):
        """The guest executes nothing here; a VMM that ended counts. Memory that is still arriving is no execution."""
        def still():
            first = vmm.mem.heartbeat
            time.sleep(seconds * SLOW)
            return vmm.mem.heartbeat == first
        if still():
            return
        self.check(vmm.is_waiting(), f"the guest in {vmm.label} runs, but must not")
        wait_until(still, f"no more memory arrives in {vmm.label}, whose guest must not run", alive=[vmm])

    def assert_memory_verified(self, vmm, rounds=1, timeout=60):
        """The guest checked more of its memory since now, and found nothing wrong."""
        first = vmm.mem.checks
        wait_until(lambda: vmm.mem.checks >= first + rounds, f"the guest in {vmm.label} verifies memory", timeout,
                   alive=[vmm])
        self.guest_ok(vmm)

    def assert_only_runs(self, here, *elsewhere):
        """Exactly one side runs."""
        self.assert_runs(here)
        for vmm in elsewhere:
            self.assert_stopped(vmm)

    def assert_untouched(self, src):
        """A failed migration left the source as it was: running, and said so."""
        self.assert_runs(src)
        self.check(src.run_state() == "running", f"the source's run state is {src.run_state()}")

    def assert_failed(self, vmm, *words, timeout=60):
        """Its migration failed (or was cancelled) with a text that has these words; returns the text."""
        info = self.wait_end(vmm, timeout)
        self.check(info["status"] == "failed", f"{vmm.label}: status is {info['status']}, not failed: {info}")
        text = info.get("error-desc", "")
        self.check(text, f"{vmm.label}: failed without error-desc")
        for word in words:
            self.check(re.search(word, text, re.I), f"{vmm.label}: error-desc {text!r} does not mention {word!r}")
        return text

    def cancel(self, src):
        """Seconds from migrate_cancel to `cancelled`; the guest runs on."""
        started = time.monotonic()
        src.command("migrate_cancel")
        info = self.wait_end(src)
        took = time.monotonic() - started
        self.check(info["status"] == "cancelled", f"cancelled, not {info}")
        self.assert_untouched(src)
        return took

    def assert_cancels_in_time(self, src, prepare, tries=3):
        """Within 100 ms after prepare(). The machine is shared with other tests: that must be so once in a few tries."""
        took = []
        for _ in range(tries):
            prepare()
            took.append(self.cancel(src))
            if took[-1] < CANCEL_SECONDS * SLOW:
                return
        raise AssertionError(f"cancelling took {took} s, never less than {CANCEL_SECONDS * SLOW} s")

    def assert_refused(self, vmm, command, arguments, *words):
        """A command is answered with an error whose text has these words; returns the text."""
        try:
            answer = vmm.command(command, arguments)
        except QmpError as e:
            for word in words:
                self.check(re.search(word, e.desc, re.I), f"{command}: error {e.desc!r} does not mention {word!r}")
            return e.desc
        raise AssertionError(f"{command} {arguments} was accepted: {answer}")


def seed():
    """The random seed of this run: MIGD_TEST_SEED, or a fixed one. Printed, so that a failure can be repeated."""
    value = int(os.environ.get("MIGD_TEST_SEED", "2604"))
    print(f"MIGD_TEST_SEED={value}")
    return random.Random(value)


def need_kvm():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Skip("/dev/kvm is not there or may not be opened")


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root")


def _own_timeout(path):
    """Seconds until we end this ourselves, a little before ctest or the lab would: so that the logs are seen."""
    if os.environ.get("MIGD_TEST_TIMEOUT"):
        return int(os.environ["MIGD_TEST_TIMEOUT"])
    with open(path) as f:
        match = re.search(r"^# TIMEOUT: *(\d+)", f.read(2000), re.M)
    return (int(match.group(1)) if match else 120) * migd_reports.TIMEOUT_FACTOR - 8


def _on_signal(signum, _frame):
    signal.alarm(0)
    raise Ended("the whole test took too long" if signum == signal.SIGALRM else f"ended by signal {signum}")


def _run_one(name, function, make):
    """"passed", "skipped" or "failed"."""
    test = make(name)
    started = time.monotonic()
    try:
        function(test)
        test.insist_on_no_reports()
        result = "passed"
    except Skip as e:
        print(f"{name}: SKIPPED: {e}")
        return "skipped"
    except BaseException as e:
        traceback.print_exc()
        test.print_logs()
        print(migd_reports.of((), test.reports), file=sys.stderr)
        result = "failed"
        if isinstance(e, (KeyboardInterrupt, Ended)):
            sys.exit(1)
    finally:
        test.close()
    print(f"{name}: {result} ({time.monotonic() - started:.1f} s)", flush=True)
    return result


def main(kvm=True, tests=None, make=Test):
    """`tests`: {name: function} instead of the program's test_*(). `make`: their argument, from a name."""
    if tests is None:
        module = sys.modules["__main__"]
        tests = {n: f for n, f in vars(module).items() if n.startswith("test_") and callable(f)}
    chosen = sys.argv[1:] or list(tests)
    migd_process.become_subreaper()
    signal.signal(signal.SIGALRM, _on_signal)
    signal.signal(signal.SIGTERM, _on_signal)
    signal.alarm(_own_timeout(sys.argv[0]))
    if kvm:
        try:
            need_kvm()
        except Skip as e:
            print(f"{os.path.basename(sys.argv[0])}: SKIPPED: {e}")
            sys.exit(77)
    results = [_run_one(name, tests[name], make) for name in chosen]
    if "failed" in results:
        sys.exit(1)
    sys.exit(77 if set(results) == {"skipped"} else 0)
