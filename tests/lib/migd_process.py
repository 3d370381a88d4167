# SPDX-License-Identifier: Apache-2.0
"""The processes of a test: daemons and VMMs, each with its log, each ended by its pid whatever happens."""

import ctypes
import json
import os
import signal
import subprocess
import time

import migd_guestmem
import migd_qmp
import migd_reports

SOURCE_DIR = os.environ.get("MIGD_SOURCE_DIR") or os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD_DIR = os.environ.get("MIGD_BUILD_DIR") or os.path.join(SOURCE_DIR, "build", "debug")
# Sanitizers and valgrind make everything slower, and so does the lab, which says by how much; waits are longer then.
SLOW = int(os.environ.get("MIGD_TEST_SLOW") or migd_reports.SLOWNESS)

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CHILDREN = ("migd-worker", "migd-greeter", "migd-herald")  # of a daemon
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper():
    """Orphans of our processes (workers whose daemon was killed) become our children: end_children() finds them."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(pid):
    """The pids of a process's children, of all its threads."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as f:
                found += [int(word) for word in f.read().split()]
    except OSError:
        pass
    return found


def end_children():
    """Kill and reap every child of this process that is left."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        left = children(os.getpid())
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except OSError:
                pass


def argv0(pid):
    """What a process is called; under valgrind, daemon/worker.c says it again."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            words = f.read().decode().split("\0")
    except OSError:
        return ""
    return next((w for w in words[1:] if w in CHILDREN), os.path.basename(words[0]))


def is_running(pid):
    """False for a zombie, too."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(condition, what, timeout=60, every=0.01, alive=()):
    """Wait for a true condition() and return its value. `alive`: processes without which waiting is pointless."""
    deadline = time.monotonic() + timeout * SLOW
    while True:
        value = condition()
        if value:
            return value
        for process in alive:
            if process.proc.poll() is not None:
                raise AssertionError(f"{process.label} ended (status {process.proc.returncode}) before {what}")
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out after {timeout * SLOW} s waiting for: {what}")
        time.sleep(every)


def program(name, build=None):
    """A program of this build, or of that in another folder."""
    path = os.path.join(build or BUILD_DIR, "bin", name)
    if not os.access(path, os.X_OK):
        raise AssertionError(f"{path} is not there: build first (scripts/build), or set MIGD_BUILD_DIR")
    return os.path.join(migd_reports.VALGRIND, name) if migd_reports.VALGRIND and not build else path


class Process:
    """A program with a log. It dies with this process, and with its Test."""

    def __init__(self, test, label, argv, netns=None, env=None, pass_fds=(), prefix=()):
        """pass_fds: descriptors that it gets as its numbers 3, 4..., as sd_listen_fds(3) has them. prefix: of its command."""
        argv = [*prefix, *argv]
        self.test = test
        self.label = label
        self.log = os.path.join(test.dir, label + ".log")
        if netns:
            argv = ["ip", "netns", "exec", netns] + argv
        if pass_fds:
            moves = " ".join(f"{n}<&{fd} {fd}<&-" for n, fd in enumerate(pass_fds, 3))
            argv = ["bash", "-c", f'LISTEN_PID=$$ exec "$@" {moves}', "bash", *argv]
        parent = os.getpid()

        def in_child():
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

        with open(self.log, "ab") as log:
            log.write(("# " + " ".join(argv) + "\n").encode())
            log.flush()
            self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=in_child,
                                         pass_fds=pass_fds, env={**os.environ, **(env or {})})
        test.processes.append(self)

    pid = property(lambda self: self.proc.pid)

    def running(self):
        return self.proc.poll() is None

    def kill(self, sig=signal.SIGKILL):
        """Send a signal and wait for the end."""
        if self.running():
            os.kill(self.pid, sig)
            try:
                self.proc.wait(15 * SLOW)
            except subprocess.TimeoutExpired:
                os.kill(self.pid, signal.SIGKILL)
                self.proc.wait()
                raise AssertionError(f"{self.label} did not end on signal {sig}") from None
        return self.proc.returncode

    def end(self):
        """End it orderly if it can be, for what is said at an end; else kill it."""
        if self.running():
            os.kill(self.pid, signal.SIGTERM)
            try:
                self.proc.wait(5 * SLOW)
            except subprocess.TimeoutExpired:
                self.kill()

    def wait_exit(self, timeout=20):
        """Wait for an end of its own accord; the exit status."""
        try:
            return self.proc.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.label} still runs after {timeout * SLOW} s") from None

    def log_text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def signal(self, sig):
        os.kill(self.pid, sig)

    def fds(self):
        """What its descriptors are, sorted: to find leaks. valgrind's own are left out."""
        found = []
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                found.append(os.readlink(f"/proc/{self.pid}/fd/{fd}").split(":")[0])
            except OSError:
                pass
        return sorted(name for name in found if not migd_reports.is_valgrinds(name))


class Daemon(Process):
    """A migd. Start another with the same `name` to succeed one that was killed: it has the same sockets and state."""

    def __init__(self, test, name, extra=(), netns=None, ready=True, env=None, pass_fds=(), build=None, prefix=()):
        self.name = name
        self.base = os.path.join(test.dir, name)
        os.makedirs(self.base, exist_ok=True)
        self.qmp_path = os.path.join(self.base, "qmp")
        self.attach_path = os.path.join(self.base, "attach")
        self.state_dir = os.path.join(self.base, "state")
        os.makedirs(self.state_dir, mode=0o700, exist_ok=True)
        super().__init__(test, name, [
            program("migd", build), "--qmp", self.qmp_path, "--attach", self.attach_path,
            "--state-dir", self.state_dir, "--log-level", os.environ.get("MIGD_TEST_LOG", "info"), "--foreground",
            *extra], netns=netns, env=env, pass_fds=pass_fds, prefix=prefix)
        self._qmp = None
        self.record = None  # of what is said in sessions: migd_qmp.Qmp's
        if ready:
            self.wait_ready()

    def wait_ready(self):
        def up():
            try:
                migd_qmp.Qmp(self.qmp_path).close()
                return True
            except (OSError, migd_qmp.QmpClosed):
                return False
        wait_until(up, f"{self.name} answers on its QMP socket", alive=[self])

    @property
    def qmp(self):
        """This test's session with it."""
        if self._qmp is None:
            self._qmp = migd_qmp.Qmp(self.qmp_path, timeout=60 * SLOW, record=self.record)
        return self._qmp

    def connect(self, negotiate=True):
        """Another session."""
        return migd_qmp.Qmp(self.qmp_path, negotiate=negotiate, timeout=60 * SLOW, record=self.record)

    def guest(self, name):
        """This guest's entry in query-guests, or None."""
        for entry in self.qmp.command("query-guests"):
            if entry["name"] == name:
                return entry
        return None

    def workers(self):
        """The pids of its workers."""
        return [pid for pid in children(self.pid) if argv0(pid) == "migd-worker" and is_running(pid)]

    def greeters(self):
        """The pids of the processes that look at connections to its shared ports: at most one."""
        return [pid for pid in children(self.pid) if argv0(pid) == "migd-greeter" and is_running(pid)]

    def drop_session(self):
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None


class Vmm(Process):
    """A migd-vmm. `.mem` is the guest's memory, seen from outside."""

    def __init__(self, test, name, daemon, label=None, memory="64M", cpus=1, payload="writer", working_set=None,
                 rate=None, args=None, hugetlb=False, memfd=False, cpr=None, incoming=False, listen=False,
                 extra=(), attached=True, netns=None, ram_only=None, shared_memory=None, build=None, prefix=(), env=None):
        """ram_only: the RAM block's name; the guest is then nothing but memory (--machine none). shared_memory: the path of a
        memory file that both sides have."""
        self.name = name
        self.daemon = daemon
        label = label or f"vmm-{daemon.name}-{name}"
        self.generation = test.count(label)
        if self.generation:
            label += f"-{self.generation}"
        self.memory_file = shared_memory or os.path.join(test.shm, label + ".ram")
        self.serial = os.path.join(test.dir, label + ".serial")
        self.listen_path = os.path.join(test.dir, label + ".sock")
        self._mem = None
        payload_args = {"working-set": working_set, "rate": rate, **{f"arg{n}": v for n, v in (args or {}).items()}}
        self.cpr_path = cpr  # where it waits for another VMM's memory
        self.memfd = hugetlb or memfd or bool(cpr)
        backing = ["--hugetlb"] if hugetlb else ["--cpr-listen", cpr] if cpr else []
        if not self.memfd:
            backing = ["--memory-file", self.memory_file]
        attach = ["--attach-listen", self.listen_path] if listen else ["--attach", daemon.attach_path]
        super().__init__(test, label, [
            program("migd-vmm", build), "--name", name, *attach, "--memory", memory,
            *(["--machine", "none", "--memory-id", ram_only] if ram_only else
              ["--cpus", str(cpus), "--serial", self.serial]), *backing,
            *(["--payload", payload] if payload and not ram_only else []),
            *(f"--payload-arg={k}={v}" for k, v in payload_args.items() if v is not None),
            *(["--memory-shared"] if shared_memory else []), *(["--incoming"] if incoming else []), *extra], netns=netns,
            env=env, prefix=prefix)
        if attached and not listen:
            self.wait_attached()
        if attached and not ram_only:
            _ = self.mem  # now: the VMM may be gone when somebody looks

    def wait_attached(self):
        def is_attached():
            entry = self.daemon.guest(self.name)
            return entry and entry["attached"] and entry["pid"] == self.pid
        # KVM may take its time for a VM's memory while guests of other tests use every CPU.
        wait_until(is_attached, f"guest {self.name} is attached to {self.daemon.name}", 90, alive=[self, self.daemon])

    @property
    def mem(self):
        if self._mem is None and self.memfd:
            self._mem = migd_guestmem.GuestMem(wait_until(self._memfd, f"{self.label} makes its memory", alive=[self]))
        if self._mem is None:
            wait_until(lambda: os.path.exists(self.memory_file) and os.path.getsize(self.memory_file) > 0x20000,
                       f"{self.label} makes its memory file", alive=[self])
            self._mem = migd_guestmem.GuestMem(self.memory_file)
        return self._mem

    def _memfd(self):
        """The path of its largest memfd."""
        found = {}
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            path = f"/proc/{self.pid}/fd/{fd}"
            try:
                if os.readlink(path).startswith(("/memfd:", "/anon_hugepage")):
                    found[os.stat(path).st_size] = path
            except OSError:
                pass
        return found[max(found)] if found and max(found) > migd_guestmem.RESULT_GPA else None

    def command(self, name, arguments=None, fds=()):
        """A guest-scoped QMP command for this guest."""
        return self.daemon.qmp.command(name, {"guest": self.name, **(arguments or {})}, fds=fds)

    def run_state(self):
        return self.command("query-status")["status"]

    def is_waiting(self):
        """For its guest to come."""
        return self.running() and self.run_state() == "inmigrate"

    def migration(self):
        return self.command("query-migrate")

    def status(self):
        """Status of its migration, "none" before the first."""
        return self.migration().get("status", "none")

    def worker(self):
        """The pid of its migration's worker; None: there is none."""
        for name in os.listdir(os.path.join(self.daemon.state_dir, "migrations")):
            with open(os.path.join(self.daemon.state_dir, "migrations", name)) as f:
                journal = json.load(f)
            if journal["guest"] == self.name and journal["worker-pid"]:
                return journal["worker-pid"]
        return None

    def set(self, **parameters):
        self.command("migrate-set-parameters", {k.replace("_", "-"): v for k, v in parameters.items()})

    def set_capabilities(self, **on):
        self.command("migrate-set-capabilities", {
            "capabilities": [{"capability": c.replace("_", "-"), "state": s} for c, s in on.items()]})

    def allocated(self):
        """Bytes of the guest's memory file that exist."""
        return os.stat(self._memfd() if self.memfd else self.memory_file).st_blocks * 512

    def serial_text(self):
        try:
            with open(self.serial, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""
