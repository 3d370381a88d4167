# SPDX-License-Identifier: Apache-2.0
"""Processes: starting and ending them, and what /proc says of them."""
import ctypes
import os
import signal
import subprocess

TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A child whose output goes to a log; it ends when this program does, whatever ends that."""

    def __init__(self, argv, log_path):
        self.log_path = log_path
        with open(log_path, "wb") as log:
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                          preexec_fn=_die_with_parent)
        self.pid = self.popen.pid

    def last_words(self):
        """None while it runs; then how it ended and the end of its log."""
        status = self.popen.poll()
        return None if status is None else f"status {status}: {self.log_tail()}"

    def log_tail(self):
        with open(self.log_path, "rb") as f:
            return f.read()[-800:].decode(errors="replace").strip()

    def end(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()


def _stat_fields(pid):
    """The fields of /proc/PID/stat after the name: index 0 is field 3. None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()
    except OSError:
        return None


def cpu_s(pid):
    """CPU seconds of all threads so far, or None."""
    fields = _stat_fields(pid)
    return None if fields is None else (int(fields[11]) + int(fields[12])) / TICKS


def reaped_cpu_s(pid):
    """CPU seconds of the children that it has waited for."""
    fields = _stat_fields(pid)
    return 0.0 if fields is None else (int(fields[13]) + int(fields[14])) / TICKS


def argv0(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().split(b"\0", 1)[0].decode(errors="replace")
    except OSError:
        return ""


def children(pid):
    """The pids of its children, of all its threads."""
    out = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as f:
                out += [int(word) for word in f.read().split()]
    except OSError:
        pass
    return out


def status_kib(pid, *fields):
    """The sum of these fields of /proc/PID/status, in KiB; 0 if there is no such process."""
    try:
        with open(f"/proc/{pid}/status") as f:
            lines = dict(line.split(":", 1) for line in f if ":" in line)
    except OSError:
        return 0
    return sum(int(lines[name].split()[0]) for name in fields if name in lines)


def machine_busy_s():
    """CPU seconds that all of the machine's CPUs were busy, time stolen by the host included."""
    with open("/proc/stat") as f:
        v = [int(x) for x in f.readline().split()[1:]]
    return (v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) / TICKS


def end_by_pid(pid):
    """End a process that we caused but are not the parent of."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
