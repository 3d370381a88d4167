# SPDX-License-Identifier: Apache-2.0
"""The control plane under load: one client as fast as it can, and a thousand clients."""
import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager

from lib import host, proc, qemu, qmp

COMMANDS = ("query-status", "query-migrate", "query-version")
SECONDS = 3
IN_FLIGHT = 64
CLIENTS = 1000
TIMEOUT_S = 60


class QmpLoad(host.HostScenario):
    def load(self, *words):
        """What qmp-load, the client, says."""
        result = subprocess.run([self.context.programs["qmp-load"], *map(str, words)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=False)
        if result.returncode:
            raise qmp.QmpError(result.stderr.strip())
        return json.loads(result.stdout)

    @contextmanager
    def one_guest(self):
        with self.hosts("a") as (a,):
            a.start_guests(1, host.GUEST_BYTES)
            yield a


class Rate(QmpLoad):
    """One connection, always so many commands under way."""
    sides = ("ours", "peer")

    def rate(self, path):
        return self.load("rate", path, SECONDS, IN_FLIGHT, *COMMANDS)

    def ours(self):
        with self.one_guest() as a:
            return self.rate(a.path("qmp"))

    def peer(self):
        directory = tempfile.mkdtemp(prefix="qemu-", dir=self.context.directory)
        path = os.path.join(directory, "qmp")
        process = proc.Process([
            qemu.PROGRAM, "-accel", "kvm", "-M", "none", "-m", f"{host.GUEST_BYTES // host.MIB}M", "-nodefaults", "-display", "none",
            "-qmp", f"unix:{path},server=on,wait=off"], os.path.join(directory, "log"))
        try:
            qmp.Qmp(path, "QEMU", process.last_words).close()
            return self.rate(path)
        finally:
            process.popen.kill()
            process.end()
            shutil.rmtree(directory)


class Clients(QmpLoad):
    """So many clients: each asks once, all at the same time; then each gets an event."""

    def ours(self):
        with self.one_guest() as a:
            return self.load("clients", a.path("qmp"), CLIENTS, "query-status")
