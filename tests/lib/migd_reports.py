# SPDX-License-Identifier: Apache-2.0
"""What sanitizers and valgrind say of a test's processes: a finding is a failure, whatever became of the process that had it.

A sanitizer writes to the process's log, which a worker, greeter or herald shares with its daemon. valgrind writes a file of each
process's own, in the folder that the environment names for it (tests/valgrind/run.sh.in)."""

import glob
import os
import re

FOLDER = "MIGD_VALGRIND_REPORTS"
VALGRIND = os.environ.get("MIGD_VALGRIND")  # the folder of what runs each program under it; none: they run as they are
INSTRUMENTED = bool(VALGRIND or os.environ.get("MIGD_SANITIZE"))
SLOWNESS = 12 if VALGRIND else 4 if INSTRUMENTED else 1  # of waits
TIMEOUT_FACTOR = 10 if VALGRIND else 3 if INSTRUMENTED else 1  # of whole tests, as in tests/CMakeLists.txt
LINES = 80

SANITIZER = re.compile(r"(?:ERROR|WARNING): (?:Address|Leak|Thread|UndefinedBehavior)Sanitizer|:\d+:\d+: runtime error: ")
# What has a stack, and is no finding: the signals that tests end processes by, and what valgrind does not know.
NO_FINDING = re.compile(r"Process terminating with default action of signal (9|15) |Warning: noted but unhandled ioctl|"
                        r"unhandled amd64-linux syscall")


def of_sanitizers(log):
    """What a log has of them, from the first report on."""
    found = SANITIZER.search(log)
    if not found:
        return []
    start = log.rfind("\n", 0, found.start()) + 1
    return ["\n".join(log[start:].splitlines()[:LINES])]


def of_valgrind(report):
    """Its blocks that have a stack."""
    lines = [re.sub(r"^(==|--)\d+\1 ?", "", line) for line in report.splitlines()]
    return [block for block in "\n".join(lines).split("\n\n")
            if re.search(r"^ +at 0x", block, re.M) and not NO_FINDING.search(block)]


def is_valgrinds(name):
    """Whether a file that a process has open is valgrind's: its reports, and what it shows the process of /proc."""
    return bool(VALGRIND) and (name.startswith(os.environ.get(FOLDER, "/nowhere/")) or "/valgrind_proc_" in name)


def leave_them_in(path):
    """Processes that are started from now on leave valgrind's reports in that folder."""
    os.environ[FOLDER] = path


def of(processes, path):
    """All findings, each with whose it is."""
    found = [(p.label, text) for p in processes for text in of_sanitizers(p.log_text())]
    for name in sorted(glob.glob(os.path.join(path, "*"))):
        with open(name, errors="replace") as f:
            found += [(f"pid {os.path.basename(name)}", text) for text in of_valgrind(f.read())]
    return "\n".join(f"{who}: {text}" for who, text in found)
