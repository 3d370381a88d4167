#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 120
"""The log as the journal gets it, by its own protocol (systemd's NATIVE_PROTOCOL): fields, and an id for each main event, which
the catalog explains."""

import os
import re
import shutil
import socket
import struct
import subprocess
import threading

import migdtest
from migd_process import SOURCE_DIR, wait_until

# The journal's socket has one place; each test has its own, which only its daemons see.
_SCRIPT = r"""
set -e
mkdir -p /run/systemd; mount -t tmpfs -o mode=0755 none /run/systemd; mkdir /run/systemd/journal; mount --bind "$1" /run/systemd/journal
shift; exec "$@"
"""


def parse(data):
    """One entry: KEY=value lines, or KEY, a length, and bytes."""
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        key, eq, value = line.partition(b"=")
        if not eq:
            (length,) = struct.unpack_from("<Q", data)
            value, data = data[8:8 + length], data[9 + length:]
        fields[key.decode()] = value.decode()
    return fields


class Journal:
    def __init__(self, t):
        migdtest.need_root()
        self.t = t
        self.entries = []
        self.dir = os.path.join(t.dir, "journal")
        os.mkdir(self.dir)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(os.path.join(self.dir, "socket"))
        thread = threading.Thread(target=self._receive, daemon=True)
        thread.start()
        t.cleanup.callback(self._socket.close)
        t.cleanup.callback(thread.join, 5)
        t.cleanup.callback(self._socket.shutdown, socket.SHUT_RDWR)

    def _receive(self):
        while data := self._socket.recv(1 << 18):
            self.entries.append(parse(data))

    def daemon(self, name):
        log = os.path.join(self.t.dir, name + ".log")
        open(log, "a").close()
        status = os.stat(log)
        return self.t.daemon(name, env={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
                             prefix=["unshare", "--mount", "--propagation", "private", "bash", "-c", _SCRIPT, "bash", self.dir])

    def wait(self, what, **fields):
        def found():
            return next((e for e in list(self.entries) if all(e.get(k) == v for k, v in fields.items())), None)
        return wait_until(found, f"an entry: {what} {fields}")


def events():
    """{name: id} of base/log-events.h."""
    with open(os.path.join(SOURCE_DIR, "base/log-events.h")) as f:
        return dict(re.findall(r'^#define LOG_EVENT_(\w+)\s+"([0-9a-f]{32})"', f.read(), re.M))


def test_a_migration_in_the_journal(t):
    ids = events()
    journal = Journal(t)
    a, b = journal.daemon("a"), journal.daemon("b")
    src = t.vmm(a)
    dst = t.vmm(b, incoming=True)
    t.assert_runs(src)
    t.migrate(src, dst)
    started = journal.wait("the start", MESSAGE_ID=ids["STARTED"])
    t.check(started["SYSLOG_IDENTIFIER"] == "migd" and started["PRIORITY"] == "6" and started["CODE_FILE"].endswith("daemon/daemon.c")
            and started["CODE_FUNC"] == "daemon_run" and int(started["CODE_LINE"]) > 0, f"{started}")
    attached = journal.wait("the guest", MESSAGE_ID=ids["GUEST_ATTACHED"])
    t.check(attached["MIGD_GUEST"] == "g" and "MIGD_MIGRATION" not in attached, f"{attached}")
    done = journal.wait("the end", MESSAGE_ID=ids["MIGRATION_COMPLETED"], MIGD_DIRECTION="outgoing")
    t.check(done["MIGD_GUEST"] == "g" and re.fullmatch("[0-9a-f]{32}", done["MIGD_MIGRATION"]) and
            "migration status completed" in done["MESSAGE"], f"{done}")
    began = journal.wait("its begin", MESSAGE_ID=ids["MIGRATION_STARTED"], MIGD_MIGRATION=done["MIGD_MIGRATION"])
    t.check(began["MIGD_GUEST"] == "g", f"{began}")
    audit = journal.wait("the audit", MESSAGE_ID=ids["AUDIT"], MIGD_COMMAND="migrate-incoming")
    t.check(audit["MIGD_GUEST"] == "g" and audit["MIGD_CLIENT_UID"] == str(os.getuid()), f"{audit}")
    # Workers cannot open the journal's socket: they write to its stream, with the level in front.
    wait_until(lambda: re.search(r"^<6>", a.log_text(), re.M), "workers write to the stream")
    t.check("migration status" not in a.log_text(), "and the daemon does not, too")
    dst.command("guest-detach")
    detached = journal.wait("the guest is let go", MESSAGE_ID=ids["GUEST_DETACHED"], MIGD_COMMAND="guest-detach")
    t.check(detached["MIGD_GUEST"] == "g" and detached["MIGD_CLIENT_UID"] == str(os.getuid()) and
            detached["MIGD_CLIENT_PID"] == str(os.getpid()), f"whose doing it was: {detached}")


def test_elsewhere_it_is_as_before(t):
    """JOURNAL_STREAM is inherited by everything below a unit; what has its stderr elsewhere writes there."""
    daemon = t.daemon("a", env={"JOURNAL_STREAM": "1:1"})
    t.check(re.search(r"^migd\[\d+\]: info: ready", daemon.log_text(), re.M), daemon.log_text())


def test_every_event_is_explained(t):
    ids = events()
    t.check(len(ids) >= 12 and len(set(ids.values())) == len(ids), f"{ids}")
    with open(os.path.join(SOURCE_DIR, "systemd/migd.catalog")) as f:
        catalog = f.read()
    explained = re.findall(r"^-- ([0-9a-f]{32})$", catalog, re.M)
    t.check(sorted(explained) == sorted(ids.values()), f"the catalog: {set(explained) ^ set(ids.values())}")
    with open(os.path.join(SOURCE_DIR, "docs/logging.md")) as f:
        documented = set(re.findall(r"`([0-9a-f]{32})`", f.read()))
    t.check(documented == set(ids.values()), f"docs/logging.md: {documented ^ set(ids.values())}")
    if not shutil.which("journalctl"):
        raise migdtest.Skip("journalctl is not there (package systemd): whether it takes the catalog was not tried")
    root = os.path.join(t.dir, "root")
    folder = os.path.join(root, "usr/lib/systemd/catalog")
    os.makedirs(folder)
    os.makedirs(os.path.join(root, "var/lib/systemd/catalog"))
    shutil.copy(os.path.join(SOURCE_DIR, "systemd/migd.catalog"), folder)
    result = subprocess.run(["journalctl", f"--root={root}", "--update-catalog"], capture_output=True, text=True, timeout=60)
    t.check(result.returncode == 0 and not result.stderr.strip(), f"{result}")
    result = subprocess.run(["journalctl", f"--root={root}", "--list-catalog"], capture_output=True, text=True, timeout=60)
    t.check(all(i in result.stdout for i in ids.values()), f"{result}")


if __name__ == "__main__":
    migdtest.main()
